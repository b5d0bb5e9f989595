"""Dialogues whose process is killed: what was said is on disk before it is answered, and reflected on at the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reflectory.graphs.dialogue import dialogue
from reflectory.memory import open_memory
from reflectory.runs import Runner

ROOT = Path(__file__).resolve().parents[2]
ANN = ("assistant", "users", "ann")


def runner(tmp_path, name):
    return Runner(graph=dialogue, model="scripted:extractive", memory=str(tmp_path / "memory"), config={"out": str(tmp_path / name)})


CHILD = """
import functools, sys
from reflectory import Runner
from reflectory.graphs.dialogue import dialogue
folder, name = sys.argv[1:]
talk = Runner(graph=dialogue, model="scripted:extractive", memory=folder + "/memory", config={"out": folder + "/" + name})
number = 0
while True:
    talk.send(f"My box {name}x{number} holds {number} pens.", user="ann", thread=f"t{number // 5}")
    print(number, flush=True)
    number += 1
"""


def kill_after(tmp_path, name, answered, extra_s):
    """Run the child until it has answered so often, then a little longer, and kill it; returns how many answers were read."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(tmp_path), name]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(answered):
            assert process.stdout.readline(), process.stderr.read()
        time.sleep(extra_s)  # where in the next turn, or reflection, the kill falls
        process.send_signal(signal.SIGKILL)
        return answered + sum(1 for _ in process.stdout)


def check_kills(tmp_path, kills):
    told = {}
    for number, (answered, extra) in enumerate(kills):
        name = f"k{number}"
        told[name] = kill_after(tmp_path, name, answered, extra)
    with runner(tmp_path, "after") as talk:
        talk.send("Hello", user="bob")
    with open_memory(tmp_path / "memory" / "journal.sqlite", read_only=True) as memory:
        records = [record for record in memory.records(ANN) if record.status == "active"]
    bodies = [record.body for record in records]
    assert len(bodies) == len(set(bodies))  # nothing twice
    assert all(len(record.steps) == 1 for record in records)
    for name, answers in told.items():
        assert {f"My box {name}x{number} holds {number} pens." for number in range(answers)} <= {*bodies}, name
    assert list((tmp_path / "memory" / "dialogues").glob("*.lease")) == []


def test_a_killed_process_loses_no_message_that_was_answered(tmp_path):
    check_kills(tmp_path, [(7, 0.0), (3, 0.004)])


@pytest.mark.slow
def test_processes_killed_at_many_moments_lose_no_message_that_was_answered(tmp_path):
    check_kills(tmp_path, [(1 + number % 6, number * 0.0013) for number in range(40)])


DIES = """
import os, signal, sys
from reflectory import Runner
from reflectory.graphs.dialogue import dialogue
class Dies:
    name = "dies"
    async def generate(self, request):
        os.kill(os.getpid(), signal.SIGKILL)
talk = Runner(graph=dialogue, model=Dies(), memory=sys.argv[1] + "/memory", config={"out": sys.argv[1] + "/run"})
talk.send("I live in Paris.", user="ann")
"""


def test_a_message_is_on_disk_before_it_is_answered(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    with runner(tmp_path, "after") as talk:
        assert talk.send("Where do I live?", user="ann").text == "I live in Paris."


def test_a_session_of_a_live_runner_is_left_to_it(tmp_path):
    with runner(tmp_path, "a") as first:
        first.send("I live in Paris.", user="ann")
        with runner(tmp_path, "b") as second:
            assert second.send("Where do I live?", user="ann").text == "I do not know that yet."
        first.leave()
        with runner(tmp_path, "c") as third:
            assert third.send("Where do I live?", user="ann").text == "I live in Paris."
