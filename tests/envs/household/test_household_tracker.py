"""The tracker against the truth it never sees, and the lessons read off it."""

import random

import pytest

from reflectory.envs.household.generator import generated_game
from reflectory.envs.household.lessons import learned, read_lesson, supported
from reflectory.envs.household.quirks import open_house
from reflectory.envs.household.tracker import HouseholdTracker
from reflectory.records import Observation


def _walk(house, rng, steps=150):
    """A random walk with a tracker looking on; yields (house, work) after every step."""
    tracker = HouseholdTracker()
    tracker.observe(None, Observation(house.intro(), choices=tuple(house.admissible())))
    for _ in range(steps):
        weights = [
            4 if command.startswith(("take", "move", "open", "heat", "cool", "clean", "use")) else 1 for command in house.admissible()
        ]
        command = rng.choices(house.admissible(), weights)[0]
        text, _, _ = house.step(command)
        tracker.observe(command, Observation(text, choices=tuple(house.admissible())))
        yield tracker.work()


@pytest.mark.parametrize("number", range(12))
def test_what_the_tracker_says_is_so(number):
    house = open_house(generated_game("train", 720 + number, 0, quirky=number % 2 == 1))
    names, t = house.game.names, house.t
    first = {
        names[thing]: {names[place] for place, things in house.contents.items() if thing in things}
        for things in house.contents.values()
        for thing in things
    }
    for work in _walk(house, random.Random(number)):
        assert sorted(work["places"]) == sorted(names[place] for place in t.places)
        for place, things in work["seen"].items():
            assert sorted(things) == sorted(names[thing] for thing in house.contents.get(t.named[place], ()))
        assert {t.named[place] for place in work["open"]} <= house.opened
        assert not {t.named[place] for place in work["shut"]} & house.opened
        assert work["held"] == (names[house.held[0]] if house.held else "")
        if work["at"]:
            assert {t.named[place] for place in (work["at"], *work["near"])} == set(t.at[house.here])
        assert all(place in first[thing] or house.taken_from for thing, place in work["first"].items())
        marks = {"clean": "isclean", "hot": "ishot", "cool": "iscool"}
        for thing, done in work["done"].items():
            entity = next(key for key, name in names.items() if name == thing)
            assert {mark for mark in done} == {mark for mark, flag in marks.items() if entity in house.flags[flag]}
        for thing in work["stuck"]:
            assert any(names[entity] == thing for entity in house.stuck)


def test_lessons_of_a_walk_are_true_and_what_was_not_seen_is_not_supported():
    for number in range(8):
        house = open_house(generated_game("train", 740 + number, 1, quirky=True))
        work = list(_walk(house, random.Random(number), steps=200))[-1]
        names = house.game.names
        start = open_house(house.game)
        told = learned(work, work["goal"])
        assert told
        for body in told:
            form, about, *rest = read_lesson(body)
            assert supported(body, work)
            if form == "broken":
                assert about in {names[entity] for entity in house.broken}
            elif form == "open_first":
                assert house.t.named[about] in house.needs_open | house.broken
            elif form == "pulls":
                assert house.jammed[house.t.named[about]] == int(rest[0])
            elif form == "absent":
                inside = start.contents.get(house.t.named[rest[0]], ())
                assert not any(names[thing].startswith(f"{about} ") for thing in inside)
        unseen = [place for place in work["places"] if place not in work["seen"]]
        assert not any(supported(f"mug in {place}", work) for place in unseen)
        assert not supported("the moon is made of cheese", work)
