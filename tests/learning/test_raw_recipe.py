"""Samples for a policy that reads raw transcripts: the same words as at play, loss on the teacher's own commands alone."""

import random
from itertools import pairwise

import numpy as np
import pytest

from reflectory.agents.view import Turn
from reflectory.agents.views.raw import RawView
from reflectory.envs.household.generator import generated_game
from reflectory.envs.household.lessons import read_lesson
from reflectory.learning.household_data import Teaching, renumbered
from reflectory.learning.raw_data import OPENINGS, RawTeacher
from reflectory.learning.tokenizer import transcript_tokenizer
from reflectory.learning.trainer import encode
from reflectory.records import Hit, Observation, Origin, Record, Task

GAMES = [generated_game("train", 740 + house, 0) for house in range(5)]


@pytest.fixture(scope="module")
def samples():
    teacher = RawTeacher(Teaching(noise=(0.0, 0.3)))
    return [sample for number, game in enumerate(GAMES) for sample in teacher.samples(game, random.Random(number))]


@pytest.fixture(scope="module")
def tokenizer(samples):
    return transcript_tokenizer("".join((sample.prompt, *sample.rest)) for sample in samples)


def _turns(text):
    """(opening, [(command, answer), …]) of a transcript, cut at its prompt marks."""
    opening, *rest = text.split("\n> ")
    return opening, [tuple(part.split("\n", 1)) for part in rest]


def test_a_sample_reads_word_for_word_as_the_prompt_at_play(samples):
    for sample in samples:
        if sample.kind != "play":
            continue
        whole = sample.prompt + sample.answer + "".join(sample.rest)
        start = min(whole.index(opening) for opening in OPENINGS if opening in whole)
        told = [line[2:] for line in whole[start : whole.index(OPENINGS[0])].splitlines() if line.startswith("- ")]
        opening, turns = _turns(whole[whole.index(OPENINGS[0]) :])
        done = [turn for turn in turns if len(turn) == 2]
        history = (("", opening), *((action, text.removesuffix("\n")) for action, text in done))
        origin = Origin(kind="own_reasoning", source="test")
        hits = tuple(
            Hit(record=Record(id=str(i), namespace=(), kind="lesson", body=body, origin=origin), score=1.0) for i, body in enumerate(told)
        )
        turn = Turn(task=Task(goal=""), observation=Observation(history[-1][1]), history=history, hits=hits)
        shown = "\n".join(message.content for message in RawView().solve(turn).messages)
        last = turns[-1][0] if len(turns[-1]) == 1 else ""
        assert shown + last == whole if last else whole.startswith(shown[:-2])


def test_the_loss_falls_on_commands_that_the_world_offers_and_on_true_notes(samples, tokenizer, tmp_path):
    assert {sample.kind for sample in samples} == {"play", "reflect"}
    counts = encode(samples, tokenizer, tmp_path / "samples.npz", longest=2048)
    data = np.load(tmp_path / "samples.npz")
    assert counts["tokens"] == len(data["ids"]) == len(data["answer"])
    verbs = ("go to", "take", "move", "open", "close", "clean", "heat", "cool", "use", "examine", "slice")
    for number, sample in enumerate(samples):
        ids, answer = (data[name][data["start"][number] : data["start"][number + 1]] for name in ("ids", "answer"))
        learned = tokenizer.decode(ids[answer], skip_special_tokens=True)
        expected = " ".join((sample.answer, *sample.rest[1::2]))
        assert " ".join(learned.split()) == " ".join(expected.split())
        if sample.kind == "reflect":
            assert all(read_lesson(line) for line in sample.answer.splitlines())
        else:
            assert all(command.startswith(verbs) for command in (sample.answer, *sample.rest[1::2]))


def test_no_word_of_a_transcript_is_unknown_and_lines_stay_apart(samples, tokenizer):
    for sample in samples:
        assert tokenizer.unk_token_id not in tokenizer(sample.prompt)["input_ids"]
    notes = next(sample.answer for sample in samples if sample.kind == "reflect" and "\n" in sample.answer)
    decoded = tokenizer.decode(tokenizer(notes, add_special_tokens=False)["input_ids"])
    turn = Turn(task=Task(goal=""), observation=Observation(""))
    assert [lesson.body for lesson in RawView().lessons(decoded, turn, won=True)] == notes.splitlines()


def test_renumbering_keeps_the_order_of_the_pieces_and_answers_in_step_with_prompts():
    teacher, rng = RawTeacher(Teaching(noise=(0.0,), renumber=0.0, wrong=0.0)), random.Random(4)
    game = GAMES[0]
    plain = list(teacher._attempt(game, (), random.Random(1), steps=20))
    shifted = list(renumbered(teacher._attempt(game, (), random.Random(1), steps=20), game, rng))
    names = {
        before: after for one, other in zip(plain, shifted, strict=True) for before, after in zip(_places(one), _places(other), strict=True)
    }
    assert len(set(names.values())) == len(names)
    moves = {(before.split()[0], int(after.split()[1]) - int(before.split()[1])) for before, after in names.items()}
    assert len(moves) == len({kind for kind, _ in moves})
    assert any(move for _, move in moves)


def _places(sample):
    furniture = {
        name.rpartition(" ")[0] for name in GAMES[0].names.values() if name in {GAMES[0].names[place] for place in GAMES[0].tables.places}
    }
    words = (sample.prompt + " " + sample.answer + " " + " ".join(sample.rest)).replace(",", " ").replace(".", " ").split()
    return [f"{kind} {number}" for kind, number in pairwise(words) if kind in furniture and number.isdigit()]
