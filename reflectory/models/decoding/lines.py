"""Constrained lines: an answer made of some of the given lines, in the model's order, each at most once, ended when the model ends it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reflectory.models.decoding.choice import ChoiceTrie, Node


class LineTrie(ChoiceTrie):
    """All sequences of distinct lines, unfolded as far as the decoder walks: behind a line stands a trie over the lines that are left.

    Args:
        lines: One token sequence per line, none empty.
        ends: Token ids that end an answer; at least one.

    Raises:
        ModelError: There are no lines.
    """

    def __init__(self, lines: Sequence[Sequence[int]], ends: Iterable[int]) -> None:
        super().__init__(lines, ends)
        self.lines = [list(line) for line in lines]
        self.longest = sum(len(line) for line in lines) + 1
        self.root = _Between(self, tuple(range(len(lines))))

    brief = False

    def step(self, node: Node, token: int) -> Node | None:
        """Where a token leads; None when it ends the answer."""
        if isinstance(node, _Between):
            node.unfold()
        return super().step(node, token)

    def plain(self, left: tuple[int, ...]) -> ChoiceTrie:
        """A trie over the lines that are left."""
        return ChoiceTrie([self.lines[index] for index in left], self.ends)


class _Between(Node):
    """The place before the next line: the answer may end here, or go on with any line that is left."""

    __slots__ = ("_left", "_owner", "_ready")

    def __init__(self, owner: LineTrie, left: tuple[int, ...]) -> None:
        super().__init__(0)
        self._owner, self._left, self._ready = owner, left, False
        self.choice = 0
        if left:  # a node without options is an answer that is complete
            self.options = sorted({*(owner.lines[index][0] for index in left), *owner.ends})

    def unfold(self) -> None:
        """Build the lines that are left, once the decoder goes into one."""
        if self._ready:
            return
        self._ready = True
        trie = self._owner.plain(self._left)
        self.children = trie.root.children
        for index, leaf in zip(self._left, trie.leaves, strict=True):
            rest = tuple(other for other in self._left if other != index)
            _swap(self, self._owner.lines[index], leaf, _Between(self._owner, rest))


def _swap(root: Node, line: Sequence[int], leaf: Node, behind: _Between) -> None:
    """Put `behind` where a line ends."""
    node = root
    for token in line[:-1]:
        node = node.children[token]
    behind.depth = leaf.depth
    node.children[line[-1]] = behind
