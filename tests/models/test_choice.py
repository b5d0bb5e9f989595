from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.errors import ModelError
from reflectory.models.decoding.choice import ChoiceTrie

SEQUENCES = st.lists(st.lists(st.integers(10, 14), max_size=5), min_size=1, max_size=12)


@given(sequences=SEQUENCES)
def test_every_walk_ends_at_a_choice_and_every_choice_has_one_walk(sequences: list[list[int]]) -> None:
    trie = ChoiceTrie(sequences, ends=[1, 2])
    found: dict[tuple[int, ...], int] = {}
    stack = [(trie.root, ())]
    while stack:
        node, written = stack.pop()
        if not node.options:
            assert node.choice is not None
            found[written] = node.choice
        for token in node.options:
            after = trie.step(node, token)
            if after is None:
                assert token in (1, 2)
                assert node.choice is not None
                found[written] = node.choice
            else:
                stack.append((after, (*written, token)))
    assert found == {tuple(ids): sequences.index(ids) for ids in sequences}


@given(sequences=SEQUENCES)
def test_forced_tokens_are_the_common_beginning(sequences: list[list[int]]) -> None:
    trie = ChoiceTrie(sequences, ends=[1])
    forced, node = trie.root.forced()
    common: list[int] = []
    for tokens in zip(*sequences, strict=False):
        if len(set(tokens)) > 1:
            break
        common.append(tokens[0])
    assert forced == common
    assert node.depth == len(common)
    assert trie.longest == max(map(len, sequences))


def test_an_end_is_an_option_only_where_others_go_on() -> None:
    trie = ChoiceTrie([[5], [5, 6], [7]], ends=[1])
    assert trie.root.options == [5, 7]
    assert trie.root.children[5].options == [1, 6]
    assert trie.root.children[7].options == ()


def test_without_end_token_prefixes_cannot_be_told_apart() -> None:
    with pytest.raises(ModelError, match="prefix"):
        ChoiceTrie([[5], [5, 6]], ends=[])
    assert ChoiceTrie([[5], [6]], ends=[]).root.options == [5, 6]
    with pytest.raises(ModelError, match="no choices"):
        ChoiceTrie([], ends=[1])


def test_equal_sequences_stand_for_the_first_choice() -> None:
    trie = ChoiceTrie([[5], [6], [5]], ends=[1])
    assert trie.leaves[0] is trie.leaves[2]
    assert trie.leaves[2].choice == 0
