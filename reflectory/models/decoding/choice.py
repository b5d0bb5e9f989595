"""Constrained choice: a trie over the token sequences of the admissible answers.

The decoder walks the trie from its root. Where one token only can follow, nothing is decided: such tokens are fed together in one forward
pass and their log-probabilities are read from it. Where several can follow, the model decides among exactly those.

A choice that is a prefix of another one ends with an end token of the checkpoint, which is then one option beside the continuations. A
choice that no other one continues needs no end token: there is nothing left to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reflectory.errors import ModelError


class Node:
    """A place in the trie, reached by the tokens on the way from the root.

    Attributes:
        children: Token id → the node it leads to.
        choice: Index of the first choice that ends here, None when none does.
        options: Sorted token ids the model may write here: the children, and the end tokens where a choice ends although others go on.
        depth: Tokens from the root.
    """

    __slots__ = ("children", "choice", "depth", "options")

    def __init__(self, depth: int) -> None:
        self.children: dict[int, Node] = {}
        self.choice: int | None = None
        self.options: Sequence[int] = ()
        self.depth = depth

    def forced(self) -> tuple[list[int], Node]:
        """Follow the way while one token only can come.

        Returns:
            The forced tokens, and the node behind them: one with several options, or the end of a choice.
        """
        tokens: list[int] = []
        node = self
        while len(node.options) == 1:
            tokens.append(node.options[0])
            node = node.children[node.options[0]]
        return tokens, node


class ChoiceTrie:
    """All admissible answers as token sequences.

    Args:
        sequences: One token sequence per choice, without end tokens; may be empty, may repeat, may be prefixes of each other.
        ends: Token ids that end an answer.

    Raises:
        ModelError: There is no choice at all, or a choice is a prefix of another and there is no end token to tell them apart.
    """

    #: An answer is a few tokens long.
    brief = True

    def __init__(self, sequences: Sequence[Sequence[int]], ends: Iterable[int]) -> None:
        if not sequences:
            msg = "there are no choices to choose from: pass at least one, or None for free text"
            raise ModelError(msg)
        self.root = Node(0)
        self.ends = frozenset(ends)
        self.leaves = tuple(self._insert(index, sequence) for index, sequence in enumerate(sequences))
        self.longest = max(len(sequence) for sequence in sequences)
        for node in self._nodes():
            if node.children:
                node.options = self._options(node)

    def step(self, node: Node, token: int) -> Node | None:
        """Where a token leads.

        Args:
            node: A node of this trie.
            token: One of its options.

        Returns:
            The next node, or None when the token ends the choice that stands at `node`.
        """
        return None if node.choice is not None and token in self.ends else node.children[token]

    def _insert(self, index: int, sequence: Sequence[int]) -> Node:
        node = self.root
        for token in sequence:
            node = node.children.setdefault(token, Node(node.depth + 1))
        if node.choice is None:
            node.choice = index
        return node

    def _options(self, node: Node) -> list[int]:
        if node.choice is None:
            return sorted(node.children)
        if not self.ends:
            msg = (
                "one choice is a prefix of another, but this checkpoint has no end token to tell them apart: make the choices differ "
                "earlier"
            )
            raise ModelError(msg)
        return sorted({*node.children, *self.ends})

    def _nodes(self) -> Iterator[Node]:
        stack = [self.root]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())
