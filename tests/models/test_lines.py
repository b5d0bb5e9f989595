"""Constrained lines: every answer is a sequence of distinct given lines, drawn as the model's own distribution says."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.models.decoding.lines import LineTrie

END = 9
tokens = st.lists(st.integers(0, 4), min_size=0, max_size=3)


def _walk(trie, decide):
    """Follow the trie to the end of an answer; returns the tokens written, the end token included where it was decided for."""
    forced, node = trie.root.forced()
    written = list(forced)
    while node.options:
        token = decide(node.options)
        written.append(token)
        after = trie.step(node, token)
        if after is None:
            return written
        forced, node = after.forced()
        written += forced
    return written


@settings(max_examples=300, deadline=None)
@given(st.lists(tokens, min_size=1, max_size=5, unique_by=tuple), st.randoms(use_true_random=False))
def test_an_answer_is_a_sequence_of_distinct_lines(bodies, rng):
    lines = [[*body, 7] for body in bodies]  # 7 ends every line, so none is a prefix of another
    written = _walk(LineTrie(lines, {END}), rng.choice)
    left, current = [tuple(line) for line in lines], []
    for token in written[:-1] if written[-1] == END else written:
        current.append(token)
        if token == 7:
            left.remove(tuple(current))  # ValueError: not a line, or one that was used
            current = []
    assert current == []
    assert written[-1] == END or not left


def test_every_order_of_every_subset_can_be_written():
    lines = [[0, 7], [0, 1, 7], [2, 7]]
    trie_answers = set()

    def explore(choices):
        it = iter(choices)
        pending = []

        def decide(options):
            pick = next(it, 0)
            pending.append(len(options))
            return options[pick]

        answer = tuple(_walk(LineTrie(lines, {END}), decide))
        trie_answers.add(answer)
        if len(pending) > len(choices):
            for option in range(pending[len(choices)]):
                explore([*choices, option])

    explore([])
    # Ordered subsets of three lines: 1 + 3 + 6 + 6.
    assert len(trie_answers) == sum(math.perm(3, k) for k in range(4))
    assert Counter(answer.count(7) for answer in trie_answers) == {0: 1, 1: 3, 2: 6, 3: 6}


async def test_the_engine_holds_a_model_to_the_lines_and_reads_its_own_probabilities(engines):
    from reflectory.records import Message, Request

    engine, lines = engines["llama"], ("go to shelf ;", "take mug ;", "open ;")
    request = Request(messages=(Message(role="user", content="go take"),), lines=lines, temperature=1.0)
    for seed in range(12):
        reply = await engine.generate(request.model_copy(update={"seed": seed}))
        rest = reply.text
        used = []
        while rest:
            line = next(line for line in lines if rest.startswith(line))
            used.append(line)
            rest = rest[len(line) :].lstrip()
        assert len(used) == len(set(used))
        whole = torch.tensor([[*reply.prompt_ids, *reply.output_ids]])
        logprobs = torch.log_softmax(engine.model(input_ids=whole).logits[0, len(reply.prompt_ids) - 1 : -1].float(), -1)
        expected = [float(row[token]) for row, token in zip(logprobs, reply.output_ids, strict=True)]
        assert list(reply.logprobs) == pytest.approx(expected, abs=1e-4)
