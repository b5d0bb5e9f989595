"""A parsed game: names, fixed facts, the first state, the goal. Shared by all episodes that play it, never changed."""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reflectory.envs.household.goal import PREDICATES, Checker, Compiler, Fact
from reflectory.envs.household.pddl import Sexpr, fail, parse, sections, typed_list

TYPES = ("agent", "location", "receptacle", "object", "rtype", "otype")
_TASK = re.compile(r'"task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*("(?:[^"\\]|\\.)*")')
_HELP = re.compile(r'action\s+help\s*\{.*?feedback\s*::\s*"(.*?)";', re.DOTALL)


@dataclass(frozen=True)
class Game:
    """One game file, parsed.

    Attributes:
        where: File name, for errors.
        names: Entity id → the name commands use ("cabinet 6").
        facts: Predicate → true tuples at the start, in file order, without doubles.
        checker: The goal.
        task: "Your task is to: …", as the game prints it.
        help: The text of `help`.
        walkthrough: A winning list of commands, where the file has one.
        quirks: Our extension (see `quirks.py`); empty for plain games.
        sink_types: Receptacle types that clean.
    """

    where: str
    names: Mapping[str, str]
    facts: Mapping[str, tuple[Fact, ...]]
    checker: Checker
    task: str
    help: str
    walkthrough: tuple[str, ...] = ()
    quirks: Mapping[str, Any] = field(default_factory=dict)
    sink_types: frozenset[str] = frozenset({"sinkbasintype"})

    @functools.cached_property
    def tables(self) -> Tables:
        """Look-up tables over the fixed facts, made once."""
        return Tables(self)

    @functools.cached_property
    def watched(self) -> frozenset[str]:
        """Predicates the goal looks at."""
        return self.checker.goal.predicates()


def load_game(path: Path) -> Game:
    """Read a game file.

    Raises:
        GameFileError: Not JSON, a part missing, malformed or hostile; the message names the file and the place.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        fail(str(path), f"cannot be read as JSON: {error}")
    return parse_game(data, str(path))


def parse_game(data: Any, where: str) -> Game:
    """Parse the content of a game file.

    Args:
        data: Mapping with pddl_domain, grammar, pddl_problem and optionally walkthrough, quirks.
        where: Name for errors.

    Raises:
        GameFileError: See `load_game`.
    """
    if not isinstance(data, dict):
        fail(where, "a game is a JSON object with pddl_domain, grammar and pddl_problem")
    for key in ("pddl_domain", "grammar", "pddl_problem"):
        if not isinstance(data.get(key), str):
            fail(where, f"{key} is missing or not text")
    parts = sections(parse(data["pddl_problem"], f"{where}, pddl_problem"), f"{where}, pddl_problem")
    for key in ("objects", "init", "goal"):
        if f":{key}" not in parts:
            fail(where, f"pddl_problem has no (:{key} …)")
    objects = _objects(parts[":objects"], where)
    facts = _facts(parts[":init"], objects, where)
    goal = parts[":goal"]
    if len(goal) != 1:
        fail(where, "(:goal …) takes exactly one condition")
    domains = {kind: tuple(sorted(name for name, of in objects.items() if of == kind)) for kind in TYPES}
    checker = Checker(Compiler(objects, f"{where}, goal").compile(goal[0]), domains, where)
    guide = _HELP.search(data["grammar"])
    return Game(
        where=where,
        names=_names({arg for rows in facts.values() for row in rows for arg in row}),
        facts=facts,
        checker=checker,
        task=read_task(data["grammar"], where),
        # The reference's parser skips blanks before the text; a written-out \n counts.
        help=guide.group(1).lstrip().replace("\\n", "\n") if guide else "",
        walkthrough=_walkthrough(data.get("walkthrough"), where),
        quirks=_quirks(data.get("quirks"), objects, where),
        sink_types=frozenset({"sinktype", "sinkbasintype"} if re.search(r"\?r\s+SinkType", data["pddl_domain"]) else {"sinkbasintype"}),
    )


def read_task(grammar: str, where: str) -> str:
    """The task sentence ("Your task is to: …") a grammar holds; "" where it holds none."""
    match = _TASK.search(grammar)
    try:
        return str(json.loads(match.group(1))) if match else ""
    except json.JSONDecodeError as error:
        fail(where, f"the task sentence in the grammar is not a JSON string: {error}")


def _objects(items: list[Sexpr], where: str) -> dict[str, str]:
    objects: dict[str, str] = {}
    for name, kind in typed_list(items, f"{where}, (:objects …)"):
        if kind not in TYPES:
            fail(where, f"object {name!r} has the unknown type {kind!r}; types are {', '.join(TYPES)}", "(:objects …)")
        if objects.setdefault(name, kind) != kind:
            fail(where, f"{name!r} is declared as both {objects[name]} and {kind}", "(:objects …)")
    return objects


def _facts(items: list[Sexpr], objects: Mapping[str, str], where: str) -> dict[str, tuple[Fact, ...]]:
    rows: dict[str, dict[Fact, None]] = defaultdict(dict)
    for item in items:
        if not isinstance(item, list) or not item or not isinstance(item[0], str):
            fail(where, f"expected (predicate …), found {str(item)[:60]}", "(:init …)")
        name, args = item[0], item[1:]
        if name == "=":  # numeric functions (distances, total cost) play no part in the text world
            continue
        kinds = PREDICATES.get(name)
        if kinds is None:
            fail(where, f"unknown predicate {name!r}", "(:init …)")
        fact = tuple(arg for arg in args if isinstance(arg, str))
        if len(fact) != len(kinds) or len(args) != len(kinds):
            fail(where, f"{name} takes {len(kinds)} argument(s), found {str(args)[:80]}", "(:init …)")
        for arg, kind in zip(fact, kinds, strict=True):
            if arg not in objects:
                fail(where, f"{name} names {arg!r}, which (:objects …) does not declare", "(:init …)")
            if kind and objects[arg] != kind:
                fail(where, f"{name} wants a {kind}, but {arg!r} is a {objects[arg]}", "(:init …)")
        rows[name][fact] = None
    if len(rows["atlocation"]) != 1:
        fail(where, f"exactly one (atLocation agent place) expected, found {len(rows['atlocation'])}", "(:init …)")
    return {name: tuple(found) for name, found in rows.items()}


def _names(ids: set[str]) -> dict[str, str]:
    """Names as ALFWorld gives them: the id up to `_bar_` and a number that counts down along the sorted ids."""
    ordered = sorted(ids)
    bases = {}
    for entity in ordered:
        base, bar, _ = entity.partition("_bar_")
        bases[entity] = (base + "basin" if "basin" in entity else base) if bar else ""
    left: dict[str, int] = defaultdict(int)
    for base in bases.values():
        left[base] += 1
    names = {}
    for entity in ordered:
        base = bases[entity]
        if base:
            names[entity] = f"{_unescape(base)} {left[base]}"
            left[base] -= 1
        else:
            names[entity] = f"{_unescape(entity)} "
    return names


def _unescape(text: str) -> str:
    return text.replace("_minus_", "-").replace("_plus_", "+").replace("_dot_", ".").replace("_comma_", ",")


def _walkthrough(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        fail(where, "walkthrough is not a list of commands")
    return tuple(value)


def _quirks(value: Any, objects: Mapping[str, str], where: str) -> dict[str, Any]:
    """Check the extension: {"broken": [ids], "needs_open": [ids], "jammed": {id: pulls}, "stuck": [ids]}."""
    if value is None:
        return {}
    lists, known = ("broken", "needs_open", "stuck"), ("broken", "needs_open", "stuck", "jammed")
    if not isinstance(value, dict) or set(value) - set(known):
        fail(where, f"quirks is a JSON object with the keys {', '.join(known)}")
    out: dict[str, Any] = {key: frozenset(str(item).lower() for item in value.get(key, ())) for key in lists}
    jammed = value.get("jammed", {})
    if not isinstance(jammed, dict) or not all(isinstance(pulls, int) and pulls >= 0 for pulls in jammed.values()):
        fail(where, "quirks.jammed maps a receptacle to a number of pulls >= 0")
    out["jammed"] = {str(key).lower(): pulls for key, pulls in jammed.items()}
    for key in known:
        for entity in out[key]:
            if objects.get(entity) not in ("receptacle", "object"):
                fail(where, f"quirks.{key} names {entity!r}, which is no declared receptacle or object")
    return out


class Tables:
    """Fixed facts as look-up tables. Ids are strings; lists are sorted by id, the order in which the world lists things.

    Args:
        game: The parsed game.
    """

    def __init__(self, game: Game) -> None:
        facts, name = game.facts, game.names
        self.agent, self.start = facts["atlocation"][0]
        self.places: dict[str, list[str]] = defaultdict(list)  # receptacle → its locations
        self.at: dict[str, list[str]] = defaultdict(list)  # location → its receptacles
        for receptacle, place in sorted(facts.get("receptacleatlocation", ())):
            self.places[receptacle].append(place)
            self.at[place].append(receptacle)
        self.openable = self._ones(facts, "openable")
        self.pickupable = self._ones(facts, "pickupable")
        self.cleanable, self.heatable = self._ones(facts, "cleanable"), self._ones(facts, "heatable")
        self.coolable, self.sliceable = self._ones(facts, "coolable"), self._ones(facts, "sliceable")
        self.toggleable = self._ones(facts, "toggleable")
        self.is_container = self._ones(facts, "isreceptacleobject")
        self.rtypes, self.otypes = self._map(facts, "receptacletype"), self._map(facts, "objecttype")
        pairs = set(facts.get("cancontain", ()))
        self.takes = {  # receptacle → objects it can contain
            receptacle: frozenset(
                thing
                for thing, kinds in self.otypes.items()
                if any((rt, ot) in pairs for rt in self.rtypes.get(receptacle, ()) for ot in kinds)
            )
            for receptacle in self.places
        }
        self.sinks = self._of(game.sink_types)
        self.microwaves, self.fridges = self._of({"microwavetype"}), self._of({"fridgetype"})
        self.knives = {thing for thing, kinds in self.otypes.items() if kinds & {"knifetype", "butterknifetype"}}
        self.inside: dict[str, list[str]] = defaultdict(list)
        for inner, outer in sorted(facts.get("inreceptacleobject", ())):
            self.inside[outer].append(inner)
        self.named = {name[receptacle]: receptacle for receptacle in self.places}
        self.goto_all = sorted({(f"go to {name[receptacle]}", receptacle) for receptacle in self.places})
        self._goto: dict[str, list[str]] = {}

    @staticmethod
    def _ones(facts: Mapping[str, tuple[Fact, ...]], predicate: str) -> frozenset[str]:
        return frozenset(fact[0] for fact in facts.get(predicate, ()))

    @staticmethod
    def _map(facts: Mapping[str, tuple[Fact, ...]], predicate: str) -> dict[str, set[str]]:
        out: dict[str, set[str]] = defaultdict(set)
        for entity, kind in facts.get(predicate, ()):
            out[entity].add(kind)
        return out

    def _of(self, kinds: set[str] | frozenset[str]) -> frozenset[str]:
        return frozenset(receptacle for receptacle in self.places if self.rtypes.get(receptacle, set()) & kinds)

    def goto(self, here: str) -> list[str]:
        """The sorted `go to` commands from a location: every receptacle that also stands elsewhere."""
        found = self._goto.get(here)
        if found is None:
            found = [command for command, receptacle in self.goto_all if any(place != here for place in self.places[receptacle])]
            self._goto[here] = found
        return found
