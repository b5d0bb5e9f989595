"""The tracked view: what is shown, what is left out, and what is read back."""

import pytest

from reflectory.agents.view import Turn
from reflectory.agents.views.raw import RawView
from reflectory.agents.views.tracked import TrackedView
from reflectory.envs.household import HouseholdEnv, SearchPolicy, household_tasks
from reflectory.records import Hit, Observation, Origin, Record, Task


def hits(*bodies):
    origin = Origin(kind="own_reasoning", source="test")
    return tuple(
        Hit(record=Record(id=f"r{number}", namespace=("household",), kind="lesson", body=body, origin=origin), score=1.0)
        for number, body in enumerate(bodies)
    )


def start(index=0, source="quirky:dev"):
    task = list(household_tasks(source, limit=index + 1))[index]
    env = HouseholdEnv()
    observation, tracker = env.reset(task, seed=0), env.tracker()
    tracker.observe(None, observation)
    return env, tracker, Turn(task=task, observation=observation, work=tracker.work())


def text(turn, **options):
    return TrackedView(**options).solve(turn).messages[0].content


def test_one_unexplored_place_per_type_the_lowest_first():
    _, _, turn = start()
    group = text(turn).partition("new ")[2].partition(" ;")[0].split()
    types, numbers = group[::2], group[1::2]
    assert types == sorted(set(types)) == sorted({place.rpartition(" ")[0] for place in turn.work["places"]})
    assert set(numbers) == {"1"}


def test_a_place_lesson_is_shown_until_the_place_was_seen_and_a_denial_moves_the_place():
    env, tracker, turn = start()
    obj, places = turn.work["goal"]["obj"], turn.work["places"]
    open_place = next(place for place in places if place.startswith(("countertop", "diningtable", "stoveburner", "toilet", "sofa", "bed")))
    told = turn.model_copy(update={"hits": hits(f"{obj} in {open_place}", f"no {obj} in {places[0]}", "spoon in nowhere 1")})
    shown = TrackedView().solve(told)
    content = shown.messages[0].content
    assert f"lesson {obj} in {open_place}" in content
    assert places[0] in content.partition("less ")[2]
    assert places[0] not in content.partition("new ")[2].partition(" ;")[0]
    assert set(shown.shown) == {"r0", "r1"}
    tracker.observe(f"go to {open_place}", env.step(f"go to {open_place}").observation)
    assert f"lesson {obj} in {open_place}" not in text(told.model_copy(update={"work": tracker.work()}))


def test_procedures_can_be_left_out_for_ablations():
    _, _, turn = next(found for found in map(start, range(30)) if found[2].work["goal"]["kind"] == "heat")
    told = turn.model_copy(update={"hits": hits("microwave 1 broken", "open microwave 2 first")})
    assert "lesson open microwave 2 first" in text(told)
    assert "lesson" not in text(told, procedures=False)
    assert TrackedView(procedures=False).solve(told).work["lessons"] == []


@pytest.mark.parametrize("source", ["generated:dev", "quirky:dev"])
def test_the_searcher_wins_with_the_same_lessons_it_learned_in_no_more_steps(source):
    policy, view = SearchPolicy(), TrackedView()
    firsts, seconds = [], []
    for index in range(16):
        lessons = ()
        for steps in (firsts, seconds):
            env, tracker, turn = start(index, source)
            for number in range(60):  # noqa: B007 - its last value counts the steps
                turn = turn.model_copy(update={"work": tracker.work(), "hits": hits(*lessons)})
                prompt = view.solve(turn)
                result = env.step(policy.choose(prompt.work, prompt.choices, seed=1))
                turn = turn.model_copy(update={"observation": result.observation})
                tracker.observe(_last(env, prompt, policy), result.observation)
                if result.terminated:
                    break
            steps.append(number + 1)
            request = view.reflect(turn.model_copy(update={"work": tracker.work()}), won=True)
            assert request is not None
            lessons = tuple(
                lesson.body
                for lesson in view.lessons(policy.reflect(request.work), turn.model_copy(update={"work": tracker.work()}), won=True)
                if lesson.supported
            )
    assert sum(seconds) <= 0.8 * sum(firsts)


def _last(env, prompt, policy):
    """The action just taken: the policy is a pure function, so asking again gives it."""
    return policy.choose(prompt.work, prompt.choices, seed=1)


def test_lessons_that_the_attempt_does_not_bear_out_are_marked():
    _, _, turn = start()
    told = TrackedView().lessons("mug in cabinet 1 . gibberish here . drawer 1 jams .", turn, won=False)
    assert [lesson.body for lesson in told] == ["mug in cabinet 1", "gibberish here", "drawer 1 jams"]
    assert not any(lesson.supported for lesson in told)


def test_a_free_text_goal_is_read_from_goals_this_room_can_have_and_the_next_reading_follows_a_finished_one():
    _, _, turn = start()
    work = {**turn.work, "goal": None, "sentence": "Could you warm the MUG?"}
    asked = turn.model_copy(update={"work": work})
    request = TrackedView().read_goal(asked)
    assert request is not None
    assert request.messages[0].content == "goal could you warm the mug ; read"
    kinds = {place.rpartition(" ")[0] for place in work["places"]} | {"desklamp"}
    assert request.choices
    assert {choice.split()[2] for choice in request.choices} <= kinds
    first, second = "pick mug desk", "pick mug shelf"
    read = asked.model_copy(update={"reading": (first, second)})
    assert TrackedView().resolve(read)["goal"]["dest"] == "desk"
    finished = {**work, "seen": {"desk 1": ["mug 1"]}}
    assert TrackedView().resolve(read.model_copy(update={"work": finished}))["goal"]["dest"] == "shelf"


def test_a_lesson_is_cited_by_the_very_place_it_names_and_not_by_one_that_ends_alike():
    view, told = TrackedView(), hits("knife 1 stuck", "mug in cabinet 1")
    shown = view.solve(start()[2]).model_copy(update={"shown": ("r0", "r1")})
    assert view.cited("take butterknife 1 from drawer 2", shown, told) == ()
    assert view.cited("take knife 1 from drawer 2", shown, told) == ("r0",)
    assert view.cited("go to cabinet 1", shown, told) == ("r1",)
    assert view.cited("go to cabinet 12", shown, told) == ()


def test_what_lessons_claim_of_a_machine_stands_beside_it_until_it_was_tried():
    _, _, turn = next(found for found in map(start, range(30)) if found[2].work["goal"]["kind"] == "clean")
    obj = turn.work["goal"]["obj"]
    told = turn.model_copy(update={"work": {**turn.work, "held": f"{obj} 1"}, "hits": hits("sinkbasin 2 broken", "sinkbasin 1 works")})
    assert "tool sinkbasin 1 said works sinkbasin 2 said broken" in text(told)
    tried = told.model_copy(update={"work": {**told.work, "refused": {"sinkbasin 1": "open"}, "ran": {"sinkbasin 2": "open"}}})
    assert "tool sinkbasin 1 broken sinkbasin 2 works" in text(tried)
    assert "said" not in text(tried)


def test_the_search_for_a_lamp_goes_on_while_the_ones_seen_do_not_work():
    _, _, turn = start()
    goal = {"kind": "look", "obj": "mug", "dest": "desklamp"}
    place, *_ = turn.work["places"]
    work = {**turn.work, "goal": goal, "held": "mug 1", "seen": {place: ["desklamp 2"]}}
    seen = turn.model_copy(update={"work": work})
    assert "new " not in text(seen)
    assert "new " in text(seen.model_copy(update={"hits": hits("desklamp 2 broken")}))
    assert "new " in text(seen.model_copy(update={"work": {**work, "refused": {"desklamp 2": "open"}}}))


def test_pulling_a_door_ever_again_is_the_same_situation_in_the_end():
    _, _, turn = start()

    def pulled(times):
        return TrackedView().situation(turn.model_copy(update={"work": {**turn.work, "jammed": {"drawer 1": times}}}))

    assert len({pulled(times) for times in (1, 2, 3)}) == 3
    assert pulled(3) == pulled(4) == pulled(9)


def test_destinations_within_reach_are_marked_and_come_first():
    env, tracker, turn = start(source="generated:dev")
    dest = "drawer" if any(place.startswith("drawer 2") for place in turn.work["places"]) else "cabinet"
    last = [place for place in turn.work["places"] if place.startswith(dest)][-1]
    tracker.observe(f"go to {last}", env.step(f"go to {last}").observation)
    work = {**tracker.work(), "goal": {"kind": "pick", "obj": "mug", "dest": dest}, "held": "mug 9"}
    line = text(turn.model_copy(update={"work": work})).partition("dest ")[2].partition(" ;")[0]
    assert line.startswith(last)
    assert line.partition(" here")[0].removesuffix(" open") == last


def test_the_raw_view_shows_the_transcript_and_nothing_typed():
    turn = Turn(
        task=Task(goal="g"),
        observation=Observation("now", choices=("a", "b")),
        history=(("", "start"), ("a", "then")),
        hits=hits("be quick"),
    )
    prompt = RawView().solve(turn)
    assert (
        prompt.messages[-1].content == "What earlier attempts noted (may be wrong):\n- be quick\n\nstart\n> a\nthen\nnow\n> "
    )  # "now" is a refusal: read once
    assert prompt.choices == ("a", "b")
    assert [lesson.body for lesson in RawView().lessons("- one\n\n2. two\n- one", turn, won=True)] == ["one", "two"]
