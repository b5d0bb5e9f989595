"""Dialogues when something goes wrong: bad characters, damaged neighbours, other agents, races, a memory that waits."""

from __future__ import annotations

import asyncio
import functools
import io
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.main import get_command

from reflectory.cli.chat import app as chat_app
from reflectory.config import DialogueConfig
from reflectory.errors import ConfigError, MemoryFault, RunError
from reflectory.graphs.dialogue import dialogue
from reflectory.memory import open_memory
from reflectory.records import Observation, Reply, Span, Step, Task
from reflectory.runs import Runner
from reflectory.runs.dialogue import Dialogues
from reflectory.runs.recorder import StepRecorder
from reflectory.runs.talk import LoopThread

ROOT = Path(__file__).resolve().parents[2]


def runner(tmp_path, name="run", *, model="scripted:extractive", memory=None, **settings):
    graph = functools.partial(dialogue, settings=DialogueConfig(**settings))
    return Runner(graph=graph, model=model, memory=memory or str(tmp_path / "memory"), config={"out": str(tmp_path / name)})


def facts(tmp_path, user="ann", agent="assistant"):
    with open_memory(tmp_path / "memory" / "journal.sqlite", read_only=True) as memory:
        return {record.body for record in memory.records((agent, "users", user)) if record.status == "active"}


def leases(tmp_path):
    return list((tmp_path / "memory" / "dialogues").glob("*.lease"))


def crashed(tmp_path, name="crashed", text="I live in Paris.", agent="assistant"):
    """What a killed process leaves behind: a run directory with an open session, and its lease, held by nobody."""
    talk = runner(tmp_path, name, agent=agent)
    talk.send(text, user="ann")
    [lease] = leases(tmp_path)
    held = lease.read_bytes()
    shutil.copytree(tmp_path / name, tmp_path / "copy")
    dialogues = talk._dialogues
    dialogues._live.clear()  # so that closing reflects on nothing
    talk.close()
    shutil.rmtree(tmp_path / name)
    (tmp_path / "copy").rename(tmp_path / name)
    lease.write_bytes(held)
    return tmp_path / name


class Broken:
    """A memory whose writing fails as long as `error` is set, for one user or for all."""

    def __init__(self, error, user=None):
        self.error, self.user, self.inner, self.tries = error, user, open_memory(None), 0

    def record(self, records):
        if self.error is not None and self.user in (None, *(record.namespace[-1] for record in records)):
            self.tries += 1
            raise self.error
        return self.inner.record(records)

    def recall(self, query):
        return self.inner.recall(query)

    def cite(self, ids, *, shown=(), helped=None):
        return self.inner.cite(ids, shown=shown, helped=helped)

    def audit(self, record_id):
        return self.inner.audit(record_id)

    def bodies(self, user):
        return {record.body for record in self.inner.records(("assistant", "users", user))}


def test_another_agent_leaves_a_crashed_session_to_the_agent_it_belongs_to(tmp_path):
    crashed(tmp_path)
    with runner(tmp_path, "other", agent="helper") as talk:
        talk.send("Hello", user="bob")
    assert len(leases(tmp_path)) == 1
    with runner(tmp_path, "same") as talk:
        talk.send("Hello", user="bob")
    assert facts(tmp_path) == {"I live in Paris."}
    assert leases(tmp_path) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": "I like \ud800 tea."},
        {"text": "I like tea.", "user": "an\udcffn"},
        {"text": "I like tea.", "thread": "\udcff"},
        {"text": Observation(spans=(Span(text="I like tea.", origin="user"),), url="http://\udcff/")},
    ],
)
def test_half_a_character_is_refused_and_nobody_else_notices(tmp_path, wrong):
    with runner(tmp_path) as talk:
        talk.send("I live in Rome.", user="ann")
        with pytest.raises(ConfigError, match="UTF-8") as caught:
            talk.send(**{"user": "ann", **wrong})
        str(caught.value).encode()
        talk.send("I live in Oslo.", user="bob")
    assert (facts(tmp_path), facts(tmp_path, "bob")) == ({"I live in Rome."}, {"I live in Oslo."})


def test_what_cannot_be_written_is_not_kept(tmp_path):
    recorder = StepRecorder(Task(goal="x"), tmp_path / "gone" / "steps.jsonl")
    with pytest.raises(OSError, match="gone"):
        recorder.put(Step(run="r", attempt=1, n=0, role="user", output="tea"))
    assert recorder.get(1, "main", 0) is None


class Half:
    """A model that answers half a character."""

    name = "half"

    async def generate(self, request):
        return Reply(text="Fine \udcff.")


def test_half_a_character_of_a_model_is_replaced(tmp_path):
    with runner(tmp_path, model=Half(), reflect="model") as talk:
        assert talk.send("I live in Rome.", user="ann").text == "Fine ?."
        assert talk.send("I like tea.", user="ann").text == "Fine ?."
    assert facts(tmp_path) == {"I live in Rome.", "I like tea."}


async def test_a_session_that_cannot_be_ended_keeps_nobody_else_from_talking(tmp_path, caplog):
    now = [1000.0]
    memory = Broken(MemoryFault("the disk is full"), "ann")
    talk = runner(tmp_path, memory=memory, idle_s=60)
    talk._dialogues = Dialogues(talk.setup, lambda: now[0])
    await talk.asend("I live in Rome.", user="ann")
    for _ in range(20):
        now[0] += 61
        assert (await talk.asend("Hello", user="bob")).text == "Noted."
    assert "the disk is full" in caplog.text
    assert 1 < memory.tries < 10
    memory.error = None
    await talk.aclose()
    assert memory.bodies("ann") == {"I live in Rome."}


async def test_the_own_session_that_cannot_be_ended_does_not_lock_its_user_out(tmp_path):
    memory = Broken(MemoryFault("the disk is full"), "ann")
    talk = runner(tmp_path, memory=memory)
    await talk.asend("I live in Rome.", user="ann")
    await talk.asend("I like tea.", user="ann", thread="other")
    memory.error = None
    await talk.aclose()
    assert memory.bodies("ann") == {"I live in Rome.", "I like tea."}


async def test_closing_ends_every_session_and_then_says_what_failed(tmp_path):
    memory = Broken(OSError("the disk is full"), "bob")
    talk = runner(tmp_path, memory=memory)
    for user in ("ann", "bob", "eve"):
        await talk.asend(f"My name is {user.title()}.", user=user)
    with pytest.raises(OSError, match="the disk is full"):
        await talk.aclose()
    assert (memory.bodies("ann"), memory.bodies("eve")) == ({"My name is Ann."}, {"My name is Eve."})
    memory.error = None
    await talk.asend("Hello", user="eve")  # the same run directory is continued, and the session found
    assert memory.bodies("bob") == {"My name is Bob."}
    await talk.aclose()


async def test_the_watch_outlives_a_session_that_cannot_be_ended(tmp_path):
    memory = Broken(OSError("the disk is full"))
    async with runner(tmp_path, memory=memory, idle_s=0.01) as talk:
        await talk.asend("I like tea.", user="ann")
        async with asyncio.timeout(20):
            while memory.tries == 0:
                await asyncio.sleep(0.001)
        memory.error = None
        async with asyncio.timeout(20):
            while not memory.bodies("ann"):
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("url", ["http://[x", "http://[::1]:99999999/", "http://a\uff0eb\u2100/"])
def test_an_address_that_is_none_does_not_keep_a_session_open(tmp_path, url):
    spans = (Span(text="I live in Rome.", origin="user"), Span(text="The museum opens at 9:00.", origin="content"))
    with runner(tmp_path) as talk:
        talk.send(Observation(spans=spans, url=url), user="ann")
        assert len(talk.leave()) == 2


def chat(*arguments):
    get_command(chat_app)(args=list(arguments), prog_name="chat", standalone_mode=False)


def test_the_command_refuses_what_is_no_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="UTF-8"):
        chat("\udcff", "--memory", "notes")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("J'habite à Orléans.\n".encode("latin-1")), encoding="utf-8"))
    with pytest.raises(ConfigError, match="UTF-8"):
        chat("--memory", "notes")


def test_the_command_line_ends_with_status_2(tmp_path):
    command = [sys.executable, "-m", "reflectory", "chat", b"\xff", "--memory", str(tmp_path / "m"), "--out", str(tmp_path / "o")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(("file", "text"), [("manifest.json", "{}"), ("manifest.json", "\x00"), ("tasks.jsonl", '{"goal": 3}\n')])
def test_a_damaged_run_directory_of_another_blocks_nobody(tmp_path, caplog, file, text):
    whole = crashed(tmp_path, "broken")
    kept = (whole / file).read_text()
    (whole / file).write_text(text)
    with runner(tmp_path, "next") as talk:
        assert talk.send("Hello", user="bob").text == "Noted."
    assert str(whole) in caplog.text
    assert len(leases(tmp_path)) == 1
    (whole / file).write_text(kept)
    with runner(tmp_path, "later") as talk:
        talk.send("Hello", user="bob")
    assert facts(tmp_path) == {"I live in Paris."}
    assert leases(tmp_path) == []


async def test_what_was_built_is_let_go_of_when_opening_fails(tmp_path, monkeypatch):
    from reflectory.runs.build import Parts

    closed = []
    inner = Parts.close

    async def close(self):
        closed.append(self)
        await inner(self)

    monkeypatch.setattr(Parts, "close", close)
    async with runner(tmp_path) as first:
        await first.asend("Hello", user="ann")
        with pytest.raises(RunError, match="another process"):
            await runner(tmp_path).asend("Hello", user="ann")
        assert len(closed) == 1


async def test_leaving_while_closing(tmp_path):
    talk = runner(tmp_path)
    for user in ("ann", "bob"):
        await talk.asend("I live in Paris.", user=user)
    await asyncio.gather(talk.aleave(user="ann"), talk.aclose())
    assert facts(tmp_path) == facts(tmp_path, "bob") == {"I live in Paris."}


@pytest.mark.parametrize("first", [True, False])
async def test_a_message_while_closing_is_answered_or_refused(tmp_path, first):
    talk = runner(tmp_path)
    if not first:
        await talk.asend("I live in Paris.", user="ann")
    said = await asyncio.gather(
        talk.asend("I like tea.", user="ann"),
        talk.aclose(),
        talk.asend("I like tea.", user="ann"),
        talk.asend("I like tea.", user="bob", thread="x"),
        talk.aclose(),
        return_exceptions=True,
    )
    refused = [item for item in said if isinstance(item, BaseException)]
    assert refused
    assert all(isinstance(item, RunError) and "closed" in str(item) for item in refused)
    assert leases(tmp_path) == []
    await talk.asend("I like jam.", user="ann")  # it may be opened again
    await talk.aclose()
    assert "I like jam." in facts(tmp_path)
    assert leases(tmp_path) == []


def test_the_first_message_from_many_threads(tmp_path, monkeypatch):
    made, together = [], threading.Barrier(8)
    inner = LoopThread.__init__

    def slow(self):
        made.append(self)
        inner(self)

    monkeypatch.setattr(LoopThread, "__init__", slow)
    talk, answers = runner(tmp_path), []

    def say(number):
        together.wait()
        answers.append(talk.send(f"My lucky number is {number}.", user=f"u{number}").text)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=say, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    talk.close()
    assert answers == ["Noted."] * 8
    assert len(made) == 1


async def test_locks_of_users_who_left_are_dropped(tmp_path):
    async with runner(tmp_path) as talk:
        for number in range(5):
            await talk.asend("Hello", user=f"u{number}")
        await talk.aleave()
        assert len(talk._dialogues._locks.users) == 0


async def test_a_memory_that_waits_for_another_process_keeps_the_loop_going(tmp_path):
    async with runner(tmp_path) as talk:
        await talk.asend("I live in Rome. My dog is called Rex.", user="ann")
        await talk.aleave()
        await talk.asend("Where do I live?", user="ann")
        other = sqlite3.connect(tmp_path / "memory" / "journal.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        asked = asyncio.create_task(talk.asend("What is my dog called? I like tea.", user="ann"))
        # Let go of by this very loop: a loop that waits for the lock would wait for ever, or until SQLite gives up.
        asyncio.get_running_loop().call_later(0.2, other.execute, "ROLLBACK")
        assert (await asked).text == "My dog is called Rex."
        other.execute("BEGIN IMMEDIATE")
        left = asyncio.create_task(talk.aleave())
        asyncio.get_running_loop().call_later(0.2, other.execute, "ROLLBACK")
        assert await left
        other.close()
    assert "I like tea." in facts(tmp_path)


class Threads(Broken):
    """A memory that knows on which threads it was used."""

    def __init__(self):
        super().__init__(None)
        self.seen = set()

    def recall(self, query):
        self.seen.add(("recall", threading.get_ident()))
        return super().recall(query)

    def record(self, records):
        self.seen.add(("record", threading.get_ident()))
        return super().record(records)

    def cite(self, ids, *, shown=(), helped=None):
        self.seen.add(("cite", threading.get_ident()))
        return super().cite(ids, shown=shown, helped=helped)


async def test_memory_is_never_touched_on_the_loops_thread(tmp_path):
    memory = Threads()
    async with runner(tmp_path, memory=memory) as talk:
        await talk.asend("I live in Rome.", user="ann")
        await talk.aleave()
        await talk.asend("Where do I live?", user="ann")
    assert {name for name, _ in memory.seen} == {"recall", "record", "cite"}
    assert threading.get_ident() not in {thread for _, thread in memory.seen}


def test_what_another_agent_left_in_the_own_run_directory_keeps_the_lease(tmp_path):
    run = crashed(tmp_path, "run")
    tasks = run / "tasks.jsonl"
    tasks.write_text(tasks.read_text().replace('"agent":"assistant"', '"agent":"helper"'))
    with runner(tmp_path) as talk:
        talk.send("I like tea.", user="bob")
    assert facts(tmp_path, "bob") == {"I like tea."}
    assert len(leases(tmp_path)) == 1
