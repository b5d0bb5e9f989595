"""The tracked view: a household turn as about 30 words of typed state, for small models.

What the view does, so that results are read rightly: it parses the goal, keeps what was seen and tried (through the env's tracker), shows
one unexplored place per furniture type, drops claims that this attempt's own observations have settled, and moves denied or jammed places
to a second group. What the model does: which verb, which place next, which machine, when to trust a lesson,
and afterwards which of the true notes to write down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reflectory.agents.view import Lesson, Prompt, Turn
from reflectory.agents.views.readings import goal_prompt, known_goals, looks_done
from reflectory.envs.household.catalog import MACHINES, MARKS
from reflectory.envs.household.lessons import PLACES, kind_of, places, procedures, read_lesson, sort_lessons, supported
from reflectory.envs.household.search import MAX_PULLS, OPENABLE, gathering_place, last_resorts
from reflectory.records import Hit, Message, Request, Task

#: Form of a lesson → how the fact behind it is told to the reflector.
_FACTS = {"place": "saw", "absent": "none", "empty": "bare"}


class TrackedView:
    """See the module. Stateless; one object serves all episodes.

    Args:
        procedures: Show lessons about machines, doors and stuck things too; False leaves them out (for ablations).
    """

    def __init__(self, *, procedures: bool = True) -> None:
        self.procedures = procedures

    # ---------------------------------------------------------------- memory

    def query(self, task: Task, work: Mapping[str, Any] | None) -> str:
        """Words to recall by: the goal, its machines and its destination."""
        goal = (work or {}).get("goal")
        if not goal:
            return task.goal
        return " ".join([goal["obj"], goal["dest"], goal["kind"], *MACHINES.get(goal["kind"], ())])

    def situation(self, turn: Turn) -> str:
        """A hash of the tracked state: a refusal that taught something (one more pull at a jammed door, up to a few) is a new situation."""
        work = turn.work or {}
        jammed = {door: min(pulls, MAX_PULLS) for door, pulls in work.get("jammed", {}).items()}
        return hashlib.blake2b(repr({**work, "jammed": jammed}).encode(), digest_size=12).hexdigest()

    # ---------------------------------------------------------------- goals in people's words

    def read_goal(self, turn: Turn) -> Request | None:
        """Ask the model which known goal a human sentence means; None when the tracker understood it."""
        work = turn.work or {}
        if work.get("goal") or not work.get("places"):
            return None
        prompt = goal_prompt(work.get("sentence") or turn.task.goal)
        choices = tuple(known_goals(sorted({kind_of(place) for place in work["places"]})))
        return Request(messages=_user(prompt), choices=choices, role="reader", max_tokens=8)

    # ---------------------------------------------------------------- acting

    def solve(self, turn: Turn) -> Prompt:
        """The compact prompt and the admissible commands."""
        work = self.resolve(turn)
        choices = turn.observation.choices
        if choices is not None:
            choices = tuple(choice for choice in choices if choice not in ("help", "inventory", "look")) or choices
        if not work.get("goal"):
            return Prompt(messages=_user(f"task unknown ; at {work.get('at') or 'middle'} ; act"), choices=choices, work=work)
        text, shown = self.compact(work, [(hit.record.id, hit.record.body) for hit in turn.hits])
        return Prompt(messages=_user(text), choices=choices, shown=shown, work=work)

    def compact(self, work: dict[str, Any], pairs: Sequence[tuple[str, str]]) -> tuple[str, tuple[str, ...]]:
        """The prompt text and the ids of the lessons in it.

        Args:
            work: The tracker's state with its goal; gets the usable lessons under "lessons".
            pairs: (id, sentence) of what was recalled, best first.
        """
        work["lessons"] = [body for _, body in pairs if self.procedures or (read_lesson(body) or ("",))[0] in PLACES]
        lines, shown = self._lesson_lines(pairs, work)
        return " ; ".join([*self._state_lines(work, lines), "act"]), shown

    def resolve(self, turn: Turn) -> dict[str, Any]:
        """The work with its goal: the tracker's, or the best reading that is not finished yet."""
        work = dict(turn.work or {})
        if work.get("goal") or not turn.reading:
            return work
        readings: list[dict[str, str]] = [dict(zip(("kind", "obj", "dest"), reading.split(" "), strict=True)) for reading in turn.reading]
        work["goal"] = next((goal for goal in readings if not looks_done(goal, work)), readings[0])
        return work

    def _lesson_lines(self, pairs: Sequence[tuple[str, str]], work: Mapping[str, Any]) -> tuple[list[str], tuple[str, ...]]:
        """Lessons that bear on this goal and are not settled by what was seen since, at most four places; with their ids."""
        goal, lines, shown, count = work["goal"], list[str](), list[str](), 0
        wanted = {goal["obj"], goal["dest"]} if goal["kind"] == "look" else {goal["obj"]}
        for id_, body in pairs:
            lesson = read_lesson(body)
            if lesson is None or body in lines:
                continue
            form, about = lesson[0], lesson[1]
            if form == "place":
                keep = about in wanted and lesson[2] in work["places"] and lesson[2] not in work["seen"] and count < 4
                count += keep
            elif form in ("absent", "empty"):
                keep = False  # shown through the grouping of places
                shown += [id_] if lesson[-1] not in work["seen"] and (form == "empty" or about in wanted) else []
            else:
                keep = self.procedures and self._bears_on(form, about, work)
            if keep:
                lines.append(body)
                shown.append(id_)
        order = {"place": 0, "pulls": 1, "jams": 2, "stuck": 3, "open_first": 4, "broken": 5, "works": 6}
        lines.sort(key=lambda body: order.get((read_lesson(body) or ("",))[0], 9))
        return lines, tuple(dict.fromkeys(shown))

    @staticmethod
    def _bears_on(form: str, about: str, work: Mapping[str, Any]) -> bool:
        goal, kind = work["goal"], kind_of(about)
        if form in ("pulls", "jams"):
            return about in work["places"] and about not in work["seen"]
        if form == "stuck":
            return kind == goal["obj"] and about not in work["stuck"]
        if about in work["ran"] or work["refused"].get(about) == "open":
            return False
        return kind in MACHINES.get(goal["kind"], ()) or (kind == goal["dest"] == "desklamp")

    def _state_lines(self, work: Mapping[str, Any], lessons: Sequence[str]) -> list[str]:
        goal, reach = work["goal"], {work["at"], *work["near"]} - {""}
        told_of = sort_lessons(work["lessons"])
        lines = [f"task {goal['kind']} {goal['obj']} {goal['dest']}"]
        lines += [f"lesson {body}" for body in lessons if not body.endswith(" jams")]
        marks = " ".join(work["done"].get(work["held"], ())) if work["held"] else ""
        lines.append(f"hold {work['held'] or 'nothing'} {marks}".strip())
        lines += _saw(work, told_of)
        lines += _tools(work, told_of)
        jams = ({*told_of["jams"], *work["jammed"]}) - set(told_of["pulls"])
        against = last_resorts(work, told_of, _sought(work))
        told = {body.rpartition(" in ")[2] for body in lessons if " in " in body}
        unknown = [place for place in work["places"] if place not in work["seen"] and place not in reach]
        doubtful = {place for place in unknown if (place in jams or place in against) and place not in told}
        if _searching(work, told_of):
            lines.append(_group("new", [place for place in unknown if place not in doubtful]))
            lines.append(_group("less", doubtful))
        targets = [place for place in work["places"] if kind_of(place) == goal["dest"]]
        if work["held"] and targets:
            lines.append(_targets(work, targets, jams))
        hopeless = {place for place, pulls in work["jammed"].items() if pulls >= MAX_PULLS}
        near = [place for place in sorted(reach - {work["at"]} - hopeless, key=_number) if place not in work["seen"]]
        lines += [f"near {' '.join(place + _door(place, work) for place in near[:3])}"] if near else []
        lines.append(f"at {work['at']}{_door(work['at'], work)}" if work["at"] else "at middle")
        return [line for line in lines if line]

    # ---------------------------------------------------------------- learning from an attempt

    def reflect(self, turn: Turn, *, won: bool) -> Request | None:
        """What happened, as facts; the model writes what to keep, held to sentences that the attempt bears out where it can be."""
        work = self.resolve(turn)
        goal = work.get("goal")
        if not goal:
            return None
        lines = [f"reflect {goal['kind']} {goal['obj']} {goal['dest']}", "won" if won else "lost"]
        for machine, door in work["refused"].items():
            lines.append(f"refused {machine} {door}" + (f" ran {work['ran'][machine]}" if machine in work["ran"] else ""))
        lines += [f"ran {machine}" for machine in work["ran"] if machine not in work["refused"]]
        lines += [f"pulled {door} {pulls}" for door, pulls in work["pulled"].items() if pulls > 1]
        lines += [f"jammed {door}" for door in work["jammed"]]
        lines += [f"loose not {thing}" for thing in work["stuck"]]
        told = places(work, goal)
        for row in told:
            form, *about = read_lesson(row) or ("",)
            lines.append(" ".join([_FACTS[form], *about]))
        return Request(
            messages=_user(" ; ".join([*lines, "write"])),
            max_tokens=200,
            role="reflector",
            work=work,
            lines=tuple(f"{body} ." for body in (*procedures(work), *told)),
        )

    def lessons(self, text: str, turn: Turn, *, won: bool) -> Sequence[Lesson]:
        """Read `lesson . lesson . …`; each is checked against the attempt's own observations."""
        work, out = self.resolve(turn), list[Lesson]()
        for body in dict.fromkeys(part.strip() for part in text.split(" .")):
            lesson = read_lesson(body)
            if lesson is None:
                if body:
                    out.append(Lesson(body=body, supported=False))
                continue
            kind = kind_of(lesson[1])
            verbs = " ".join(verb for verb, machines in MACHINES.items() if kind in machines)
            out.append(Lesson(body=body, when_to_use=verbs, supported=supported(body, work)))
        return out

    def cited(self, action: str, prompt: Prompt, hits: Sequence[Hit]) -> tuple[str, ...]:
        """Lessons about the place or machine the action names."""
        found = []
        for hit in hits:
            lesson = read_lesson(hit.record.body)
            if lesson is None or hit.record.id not in prompt.shown or lesson[0] in ("absent", "empty"):
                continue
            entity = lesson[2] if lesson[0] == "place" else lesson[1]
            if f" {entity} " in f" {action} ":
                found.append(hit.record.id)
        return tuple(found)


class PlacesView(TrackedView):
    """The tracked view without procedural lessons: places alone, to show what procedures are worth."""

    def __init__(self) -> None:
        super().__init__(procedures=False)


def _user(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def _sought(work: Mapping[str, Any]) -> str:
    """The type of thing to look for next: the goal thing, or with it in hand the lamp."""
    goal = work["goal"]
    return str(goal["dest"] if goal["kind"] == "look" and kind_of(work["held"]) == goal["obj"] else goal["obj"])


def _searching(work: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> bool:
    """Is there still something to look for? With the goal thing in hand only a lamp that may work is."""
    goal = work["goal"]
    if kind_of(work["held"]) != goal["obj"]:
        return True
    lamps = {thing for things in work["seen"].values() for thing in things if kind_of(thing) == goal["dest"]}
    return goal["kind"] == "look" and not lamps - {*work["refused"], *told["broken"]}


def _number(place: str) -> tuple[str, int]:
    kind, _, number = place.rpartition(" ")
    return kind, int(number)


def _group(word: str, places: Iterable[str]) -> str:
    """One place per furniture type, the lowest number, types in order of name."""
    first: dict[str, str] = {}
    for place in sorted(places, key=_number):
        first.setdefault(kind_of(place), place)
    return f"{word} {' '.join(first.values())}" if first else ""


def _door(place: str, work: Mapping[str, Any]) -> str:
    jams = work["jammed"].get(place, 0)
    return (" shut" if place in work["shut"] else "") + (f" jam {min(jams, 9)}" if jams else "")


def _saw(work: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> list[str]:
    goal = work["goal"]
    wanted = {goal["obj"], goal["dest"]} if goal["kind"] == "look" else {goal["obj"]}
    rows, home = [], gathering_place(goal, work["seen"])
    for place, things in work["seen"].items():
        for thing in things:
            if kind_of(thing) in wanted and thing not in work["stuck"]:
                if place == home or (kind_of(place) == goal["dest"] and MARKS.get(goal["kind"]) in work["done"].get(thing, ())):
                    rows.append(f"placed {thing} {place}")
                    continue
                state = " ".join(work["done"].get(thing, ())) + (" lit" if thing in work["lit"] else "")
                state += " broken" if thing in work["refused"] else _said(thing, work, told)
                here = " here" if place in {work["at"], *work["near"]} else ""
                rows.append(f"saw {thing} {state.strip()} in {place}{_door(place, work)}{here}".replace("  ", " "))
    return rows[:6]


def _said(machine: str, work: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> str:
    """What lessons claim of a machine that this attempt has not tried itself."""
    if machine in work["ran"] or machine in work["refused"]:
        return ""
    return " said broken" if machine in told["broken"] else " said works" if machine in told["works"] else ""


def _tools(work: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> list[str]:
    goal = work["goal"]
    kinds = MACHINES.get(goal["kind"], ())
    mark = MARKS.get(goal["kind"])
    if not kinds or not work["held"] or mark in work["done"].get(work["held"], ()):
        return []
    rows = []
    for place in sorted((place for place in work["places"] if kind_of(place) in kinds), key=_number):
        state = {"open": " broken", "shut": " balks"}.get(work["refused"].get(place, ""), " works" if place in work["ran"] else "")
        state = " works" if place in work["ran"] else state or _said(place, work, told)
        rows.append(place + state + (" open" if place in work["open"] else ""))
    return [f"tool {' '.join(rows[:4])}"]


def _targets(work: Mapping[str, Any], targets: Sequence[str], jams: set[str]) -> str:
    reach, home = {work["at"], *work["near"]}, gathering_place(work["goal"], work["seen"])
    # A drawer that shows its inside without ever having been opened has no door.
    ready = {*work["open"], *(place for place in work["seen"] if kind_of(place) in OPENABLE and place not in work["shut"])}
    best = sorted(targets, key=lambda place: (place != home, place in jams, place not in reach, place not in ready, _number(place)))
    marked = (place + (" open" if place in ready else "") + (" here" if place in reach else "") for place in best[:3])
    return f"dest {' '.join(marked)}"
