"""Malformed and hostile game files: always a typed error that names file and place."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.envs.household.engine import House
from reflectory.envs.household.game import load_game, parse_game
from reflectory.envs.household.generator import generate
from reflectory.envs.household.pddl import parse
from reflectory.errors import GameFileError

GOOD = generate("train", 700, 0)


def _with(**changes):
    return {**GOOD, **changes}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "JSON object"),
        (_with(pddl_problem=7), "pddl_problem"),
        (_with(pddl_problem="(define (problem x)"), "never closed"),
        (_with(pddl_problem="(define (problem x)))"), "too many"),
        (_with(pddl_problem="(" * 500), "nested deeper"),
        (_with(pddl_problem="(define (:objects) (:init))"), "goal"),
        (_with(pddl_problem=GOOD["pddl_problem"].replace("agent1 - agent", "agent1 - wizard")), "wizard"),
        (_with(pddl_problem=GOOD["pddl_problem"].replace("(atLocation agent1 loc_bar_start)", "")), "atLocation"),
        (_with(pddl_problem=GOOD["pddl_problem"].replace("(:init", "(:init (flies agent1)")), "flies"),
        (_with(pddl_problem=GOOD["pddl_problem"].replace("(:init", "(:init (opened agent1)")), "wants a receptacle"),
        (_with(walkthrough="go"), "walkthrough"),
        (_with(quirks={"haunted": []}), "quirks"),
        (_with(quirks={"broken": ["nothing_there"]}), "nothing_there"),
        (_with(quirks={"jammed": {"agent1": "often"}}), "jammed"),
    ],
)
def test_a_bad_game_is_refused_with_its_name_and_fault(data, says):
    with pytest.raises(GameFileError, match=says) as caught:
        parse_game(data, "kitchen.json")
    assert "kitchen.json" in str(caught.value)


def test_the_line_of_a_stray_bracket_is_named():
    with pytest.raises(GameFileError, match="line 3"):
        parse("(a)\n(b)\n)", "here")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_text_gives_a_typed_error_or_a_game_that_plays(data):
    text = GOOD["pddl_problem"]
    begin = data.draw(st.integers(0, len(text)))
    patch = data.draw(st.text(alphabet="()?- abz\n", max_size=12))
    damaged = text[:begin] + patch + text[begin + data.draw(st.integers(0, 40)) :]
    try:
        house = House(parse_game(_with(pddl_problem=damaged), "here"))
    except GameFileError as error:
        said, offered = str(error), ["help"]
    else:
        said, offered = "here", house.admissible()
    assert "here" in said
    assert "help" in offered


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"{", b"[" * 100_000, b"null"])
def test_a_file_that_is_no_json_object_is_refused(tmp_path, content):
    path = tmp_path / "game.tw-pddl"
    path.write_bytes(content)
    with pytest.raises(GameFileError, match=r"game\.tw-pddl"):
        load_game(path)


def test_a_walkthrough_may_be_absent(tmp_path):
    path = tmp_path / "game.tw-pddl"
    path.write_text(json.dumps({key: value for key, value in GOOD.items() if key != "walkthrough"}))
    assert load_game(path).walkthrough == ()
