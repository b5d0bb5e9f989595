"""The recipe of the embedded policy: samples, tokenizer, a trainer that survives a kill, and what it must never touch."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from reflectory.envs.household.generator import generated_game
from reflectory.envs.household.lessons import read_lesson
from reflectory.learning.household_data import Teacher, Teaching, count_priors, reading_samples, spoil
from reflectory.learning.tokenizer import build_tokenizer
from reflectory.learning.trainer import Batches, TrainConfig, encode, new_model, train

GAMES = [generated_game("train", 760 + house, 0, quirky=house % 2 == 0) for house in range(6)]


@pytest.fixture(scope="module")
def samples():
    teacher = Teacher(Teaching())
    return [sample for number, game in enumerate(GAMES) for sample in teacher.samples(game, random.Random(number))]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(["put the newspapers on the sofa", "warm up a cup of tea"])


def test_every_prompt_and_answer_survives_the_tokenizer_and_furniture_is_one_token(samples, tokenizer):
    for sample in samples:
        for text in (sample.prompt, sample.answer):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text
    assert len(tokenizer("go to cabinet 12", add_special_tokens=False)["input_ids"]) == 3
    assert tokenizer.unk_token_id not in tokenizer("zyzzyva jumped")["input_ids"]


def test_samples_are_the_same_for_the_same_seed_and_lessons_parse(samples):
    again = list(Teacher(Teaching()).samples(GAMES[0], random.Random(0)))
    assert again == samples[: len(again)]
    notes = [body.strip() for sample in samples if sample.kind == "reflect" for body in sample.answer.split(" .") if body.strip()]
    assert len(notes) > 50
    assert all(read_lesson(body) for body in notes)


def test_a_trusting_teacher_never_tells_a_lie_and_a_spoiled_one_does():
    def told(wrong):
        teacher, rng, seen = Teacher(Teaching(wrong=wrong)), random.Random(3), set()
        true = ["mug in cabinet 1", "microwave 1 broken", "drawer 2 empty"]
        for _ in range(50):
            seen |= set(teacher._tell(true, GAMES[0], rng))
        return seen - set(true)

    assert told(0.0) == set()
    assert told(1.0)
    assert any(body.startswith("no ") for body in spoil(["mug in cabinet 1"] * 20, GAMES[0], random.Random(1)))


def test_priors_are_shares_of_furniture_that_holds_a_thing():
    priors = count_priors(GAMES, weight=0.0)
    game = GAMES[0]
    thing, place = game.facts["inreceptacle"][0]
    kind, of = (game.names[entity].rpartition(" ")[0] for entity in (thing, place))
    holding = pieces = 0
    for other in GAMES:
        holders = {r for t, r in other.facts["inreceptacle"] if other.names[t].rpartition(" ")[0] == kind}
        if holders:
            furniture = [r for r in other.tables.places if other.names[r].rpartition(" ")[0] == of]
            pieces += len(furniture)
            holding += len(holders & set(furniture))
    assert priors[kind][of] == pytest.approx(holding / pieces)


def test_sentences_of_other_splits_are_never_read():
    entry = {
        "task_type": "pick_heat_then_place_in_recep",
        "pddl_params": {"object_target": "Mug", "parent_target": "Shelf", "toggle_target": ""},
        "human_goals": ["Warm the cup!"],
    }
    found = list(reading_samples({"train/a/b": entry, "valid_seen/a/b": entry, "valid_train/c/d": entry}, "train"))
    assert [(sample.prompt, sample.answer) for sample in found] == [("goal warm the cup ; read", "heat mug shelf")]


def test_batches_cover_every_sample_once_and_ranks_share_them(samples, tokenizer, tmp_path):
    encode(samples, tokenizer, tmp_path / "samples.npz")
    config = TrainConfig(batch_tokens=600)
    ranks = [list(Batches(tmp_path / "samples.npz", config, rank, 2).epoch(0)) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1])
    seen = np.concatenate([index for rank in ranks for index in rank])
    assert len(seen) == len(set(seen.tolist()))
    assert len(seen) >= 0.9 * len(samples)


PROGRAM = """
import sys
from pathlib import Path
from reflectory.learning.trainer import TrainConfig, train
folder = Path(sys.argv[1])
config = TrainConfig(tokens=6000, batch_tokens=400, ranks=1, save_seconds=0.0, warmup=3)
train(folder / "start", folder / "samples.npz", folder / sys.argv[2], config)
"""


def _weights(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def test_a_killed_training_goes_on_to_the_same_weights(samples, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "start")
    new_model(len(tokenizer), width=16, layers=1, inner=16).save_pretrained(tmp_path / "start")
    encode(samples, tokenizer, tmp_path / "samples.npz")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    subprocess.run([*run, "whole"], check=True, env=environment, capture_output=True)
    child = subprocess.Popen([*run, "killed"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "resume" / "state.json").exists() and time.monotonic() < deadline and child.poll() is None:
        os.sched_yield()
    child.send_signal(signal.SIGKILL)
    child.wait()
    subprocess.run([*run, "killed"], check=True, env=environment, capture_output=True)
    whole, killed = _weights(tmp_path / "whole"), _weights(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(killed[name], value, atol=1e-5)


def test_training_lowers_the_loss_of_what_it_saw(samples, tokenizer, tmp_path):
    import torch
    from transformers import LlamaForCausalLM

    tokenizer.save_pretrained(tmp_path / "start")
    new_model(len(tokenizer), width=32, layers=1, inner=32).save_pretrained(tmp_path / "start")
    encode(samples, tokenizer, tmp_path / "samples.npz")
    train(tmp_path / "start", tmp_path / "samples.npz", tmp_path / "out", TrainConfig(tokens=40_000, batch_tokens=512, ranks=1, warmup=5))

    def loss(folder):
        model = LlamaForCausalLM.from_pretrained(folder)
        ids = tokenizer(samples[0].prompt + " " + samples[0].answer, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            return float(model(input_ids=ids, labels=ids).loss)

    assert loss(tmp_path / "out") < loss(tmp_path / "start")
