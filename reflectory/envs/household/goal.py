"""Goals: and, or, not, =, exists, forall over facts, checked by a join instead of by enumerating all assignments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

from reflectory.envs.household.pddl import Sexpr, fail, typed_list

Fact = tuple[str, ...]
#: Predicate name → all its true tuples right now.
Extent = Callable[[str], Iterable[Fact]]

#: Every predicate of the ALFRED domain with the types of its arguments ("" for either an agent, a place or a thing).
PREDICATES: Mapping[str, tuple[str, ...]] = {
    "atlocation": ("agent", "location"),
    "receptacleatlocation": ("receptacle", "location"),
    "objectatlocation": ("object", "location"),
    "openable": ("receptacle",),
    "opened": ("receptacle",),
    "inreceptacle": ("object", "receptacle"),
    "isreceptacleobject": ("object",),
    "inreceptacleobject": ("object", "object"),
    "isreceptacleobjectfull": ("object",),
    "wasinreceptacle": ("object", "receptacle"),
    "checked": ("",),
    "examined": ("location",),
    "receptacletype": ("receptacle", "rtype"),
    "cancontain": ("rtype", "otype"),
    "objecttype": ("object", "otype"),
    "holds": ("agent", "object"),
    "holdsany": ("agent",),
    "holdsanyreceptacleobject": ("agent",),
    "full": ("receptacle",),
    "isclean": ("object",),
    "cleanable": ("object",),
    "ishot": ("object",),
    "heatable": ("object",),
    "iscool": ("object",),
    "coolable": ("object",),
    "pickupable": ("object",),
    "moveable": ("object",),
    "toggleable": ("object",),
    "ison": ("object",),
    "istoggled": ("object",),
    "sliceable": ("object",),
    "issliced": ("object",),
}
#: Bindings tried in one evaluation before the goal is refused; real goals need a few dozen.
MAX_WORK = 2_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """A goal expression: `op` is a predicate name, and, or, not, =, exists or forall; variables have unique names."""

    op: str
    args: Fact = ()
    parts: tuple[Node, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    free: frozenset[str] = field(default=frozenset())

    def predicates(self) -> frozenset[str]:
        """The names of all predicates below this node."""
        own = frozenset({self.op}) if self.op in PREDICATES else frozenset()
        return own.union(*(part.predicates() for part in self.parts))


class Compiler:
    """Checks goal expressions and turns them into Nodes.

    Args:
        objects: Declared name → type.
        where: For errors.
    """

    def __init__(self, objects: Mapping[str, str], where: str) -> None:
        self.objects, self.where = objects, where
        self._fresh = count()

    def compile(self, expression: Sexpr, bound: Mapping[str, str] | None = None) -> Node:
        """Compile one expression below `(:goal …)`.

        Args:
            expression: The s-expression.
            bound: Written variable name → unique name, from the quantifiers around it.

        Raises:
            GameFileError: Unknown operator, predicate or name, wrong number of arguments, unbound variable.
        """
        bound = bound or {}
        if not isinstance(expression, list) or not expression or not isinstance(expression[0], str):
            fail(self.where, f"expected (operator …) in the goal, found {str(expression)[:60]}")
        op, rest = expression[0], expression[1:]
        if op in ("exists", "forall"):
            return self._quantifier(op, rest, bound)
        if op in ("and", "or", "not"):
            parts = tuple(self.compile(item, bound) for item in rest)
            if op == "not" and len(parts) != 1:
                fail(self.where, "(not …) takes exactly one condition")
            return Node(op, parts=parts, free=frozenset().union(*(part.free for part in parts)))
        return self._atom(op, rest, bound)

    def _quantifier(self, op: str, rest: list[Sexpr], bound: Mapping[str, str]) -> Node:
        if len(rest) != 2 or not isinstance(rest[0], list):
            fail(self.where, f"({op} (variables) condition) expected")
        written = typed_list(rest[0], self.where)
        unique = {name: f"{name}#{next(self._fresh)}" for name, _ in written}
        part = self.compile(rest[1], {**bound, **unique})
        variables = tuple((unique[name], kind) for name, kind in written)
        return Node(op, parts=(part,), variables=variables, free=part.free - set(unique.values()))

    def _atom(self, op: str, rest: list[Sexpr], bound: Mapping[str, str]) -> Node:
        arity = 2 if op == "=" else len(PREDICATES[op]) if op in PREDICATES else -1
        if arity < 0:
            known = "and, or, not, =, exists, forall and the domain's predicates"
            fail(self.where, f"unknown predicate or operator {op!r} in the goal; it may use {known}")
        if len(rest) != arity:
            fail(self.where, f"{op} takes {arity} argument(s) in the goal, found {len(rest)}")
        args = []
        for arg in rest:
            if not isinstance(arg, str) or not (arg in bound or arg in self.objects):
                fail(self.where, f"the goal names {str(arg)[:60]!r}, which is neither declared nor bound")
            args.append(bound.get(arg, arg))
        return Node(op, tuple(args), free=frozenset(args) & frozenset(bound.values()))


@dataclass(slots=True)
class Checker:
    """Evaluates one goal against facts.

    Attributes:
        goal: The compiled goal.
        domains: Type → declared names, sorted.
        where: For errors.
    """

    goal: Node
    domains: Mapping[str, tuple[str, ...]]
    where: str = "goal"
    _work: int = 0

    def holds(self, extent: Extent) -> bool:
        """Whether the goal is true.

        Raises:
            GameFileError: The evaluation tries more than `MAX_WORK` bindings.
        """
        self._work = 0
        return self._some((self.goal,), {}, {}, extent)

    def _some(self, parts: tuple[Node, ...], binding: dict[str, str], kinds: dict[str, str], extent: Extent) -> bool:
        """Is there a way to bind the open variables (`kinds`: name → type) that makes all parts true?"""
        self._work += 1
        if self._work > MAX_WORK:
            fail(self.where, f"checking the goal takes more than {MAX_WORK} bindings")
        rest, best = list(parts), (MAX_WORK, -1, list[Fact]())
        position = 0
        while position < len(rest):
            part = rest[position]
            if part.op == "and":
                rest[position : position + 1] = part.parts
            elif part.op == "exists":
                if not all(self.domains.get(kind) for _, kind in part.variables):
                    return False
                kinds = {**kinds, **dict(part.variables)}
                rest[position] = part.parts[0]
            elif part.free <= binding.keys():
                if not self._true(part, binding, extent):
                    return False
                del rest[position]
            else:
                if part.op in PREDICATES:
                    facts = [fact for fact in extent(part.op) if _fits(part.args, fact, binding, kinds)]
                    if not facts:
                        return False
                    if len(facts) < best[0]:
                        best = (len(facts), position, facts)
                position += 1
        if not rest:
            return True
        return self._branch(rest, best, binding, kinds, extent)

    def _branch(
        self, rest: list[Node], best: tuple[int, int, list[Fact]], binding: dict[str, str], kinds: dict[str, str], extent: Extent
    ) -> bool:
        """Bind along the atom with the fewest facts, or, where no atom is left, one variable by its type."""
        if best[1] >= 0:
            chosen = rest.pop(best[1])
            return any(self._some(tuple(rest), binding | _bind(chosen.args, fact, kinds), kinds, extent) for fact in best[2])
        name = min(frozenset().union(*(part.free for part in rest)) - binding.keys())
        return any(self._some(tuple(rest), {**binding, name: value}, kinds, extent) for value in self.domains[kinds[name]])

    def _true(self, part: Node, binding: dict[str, str], extent: Extent) -> bool:
        """Truth of a part whose free variables are all bound."""
        if part.op == "not":
            return not self._some(part.parts, binding, {}, extent)
        if part.op == "or":
            return any(self._some((item,), binding, {}, extent) for item in part.parts)
        if part.op == "forall":
            body = Node("not", parts=part.parts, free=part.parts[0].free)
            return not self._some((Node("exists", parts=(body,), variables=part.variables, free=part.free),), binding, {}, extent)
        wanted = tuple(binding.get(arg, arg) for arg in part.args)
        return wanted[0] == wanted[1] if part.op == "=" else wanted in extent(part.op)


def _fits(args: Fact, fact: Fact, binding: Mapping[str, str], kinds: Mapping[str, str]) -> bool:
    """Does a fact agree with constants, bound variables, and variables that stand twice?"""
    seen: dict[str, str] = {}
    for arg, value in zip(args, fact, strict=True):
        wanted = binding.get(arg) or seen.get(arg) or (None if arg in kinds else arg)
        if wanted is not None and wanted != value:
            return False
        seen[arg] = value
    return True


def _bind(args: Fact, fact: Fact, kinds: Mapping[str, str]) -> dict[str, str]:
    return {arg: value for arg, value in zip(args, fact, strict=True) if arg in kinds}
