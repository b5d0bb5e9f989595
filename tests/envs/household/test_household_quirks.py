"""Quirks: what a broken, jammed, stuck or choosy thing does, told by hand-made houses."""

import pytest

from reflectory.envs.household.game import parse_game
from reflectory.envs.household.planner import Goal, plan, read_goal
from reflectory.envs.household.quirks import open_house
from reflectory.envs.household.writer import Layout, furniture_id, write_game


def _kitchen(**quirks):
    house = Layout("test kitchen", "kitchen")
    for number, kind in enumerate(("Drawer", "Microwave", "CounterTop", "Fridge", "SinkBasin")):
        for copy in (1, 2):
            house.furniture[furniture_id(kind, copy)] = kind
            house.location[furniture_id(kind, copy)] = f"loc_bar_{number}{copy}"
    house.things = {"Mug_bar_01": ("Mug", "Drawer_bar_01"), "Mug_bar_02": ("Mug", "CounterTop_bar_01")}
    house.quirks = {"broken": [], "needs_open": [], "stuck": [], "jammed": {}, **quirks}
    return open_house(parse_game(write_game(house, Goal("heat", "Mug", "CounterTop")), "test kitchen"))


def _run(house, *commands):
    return [house.step(command)[0] for command in commands]


@pytest.mark.parametrize(("pulls", "refusals"), [(1, 0), (2, 1), (3, 2), (0, 9)])
def test_a_jammed_drawer_opens_at_its_pull_and_a_dead_one_never(pulls, refusals):
    house = _kitchen(jammed={"Drawer_bar_01": pulls})
    drawer = house.game.names["drawer_bar_01"]
    texts = _run(house, f"go to {drawer}", *[f"open {drawer}"] * 9)[1:]
    assert texts[:refusals] == [f"The {drawer} is jammed."] * refusals
    if refusals < 9:
        assert texts[refusals].startswith(f"You open the {drawer}.")
        assert _run(house, f"close {drawer}", f"open {drawer}")[1].startswith("You open")


def test_a_broken_machine_refuses_with_the_same_words_as_one_that_wants_its_door_open():
    house = _kitchen(broken=["Microwave_bar_01"], needs_open=["Microwave_bar_02"])
    dead, choosy = (house.game.names[f"microwave_bar_0{number}"] for number in (1, 2))
    mug, counter = house.game.names["mug_bar_02"], house.game.names["countertop_bar_01"]
    _run(house, f"go to {counter}", f"take {mug} from {counter}", f"go to {dead}")
    assert _run(house, f"heat {mug} with {dead}", f"open {dead}", f"heat {mug} with {dead}")[::2] == [f"The {dead} does not start."] * 2
    _run(house, f"go to {choosy}")
    assert _run(house, f"heat {mug} with {choosy}") == [f"The {choosy} does not start."]
    assert _run(house, f"open {choosy}", f"heat {mug} with {choosy}")[1] == f"You heat the {mug} using the {choosy}."


def test_a_stuck_thing_stays():
    house = _kitchen(stuck=["Mug_bar_02"])
    mug, counter = house.game.names["mug_bar_02"], house.game.names["countertop_bar_01"]
    assert _run(house, f"go to {counter}", f"take {mug} from {counter}")[1] == f"The {mug} is stuck."
    assert f"take {mug} from {counter}" in house.admissible()


def test_the_planner_finds_the_way_around_all_of_them_and_says_so_when_there_is_none():
    house = _kitchen(broken=["Microwave_bar_01"], needs_open=["Microwave_bar_02"], stuck=["Mug_bar_02"], jammed={"Drawer_bar_01": 3})
    commands = plan(house, read_goal(house.game.task))
    assert commands is not None
    assert sum(command.startswith("open drawer") for command in commands) == 3
    assert [house.step(command)[2] for command in commands] == [False] * (len(commands) - 1) + [True]
    assert plan(_kitchen(broken=["Microwave_bar_01", "Microwave_bar_02"]), read_goal(house.game.task)) is None


def test_snapshots_keep_the_pulls():
    house, twin = _kitchen(jammed={"Drawer_bar_01": 3}), _kitchen(jammed={"Drawer_bar_01": 3})
    drawer = house.game.names["drawer_bar_01"]
    _run(house, f"go to {drawer}", f"open {drawer}", f"open {drawer}")
    twin.restore(house.snapshot())
    assert twin.step(f"open {drawer}")[0].startswith("You open")
