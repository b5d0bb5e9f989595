"""Committing what a trial taught: every operation once, wherever a kill meets it."""

from __future__ import annotations

import pytest

from reflectory.memory import open_memory
from reflectory.records import Origin, Record
from reflectory.runs.memory import Effects, StagedMemory, commit


class Killed(BaseException):
    pass


class Mortal:
    """A memory that dies before or after its n-th write."""

    def __init__(self, memory, at: int, after: bool):
        self.memory, self.at, self.after = memory, at, after

    @property
    def seq(self):
        return self.memory.seq

    def _write(self, method, *args, **kwargs):
        self.at -= 1
        if self.at == 0 and not self.after:
            raise Killed
        answer = method(*args, **kwargs)
        if self.at == 0:
            raise Killed
        return answer

    def record(self, records):
        return self._write(self.memory.record, records)

    def cite(self, ids, **kwargs):
        return self._write(self.memory.cite, ids, **kwargs)


def lesson(body, number):
    return Record(id="", namespace=("t",), kind="lesson", body=body, origin=Origin(kind="own_reasoning", source=f"run/{number}"))


def staged_by_two_trials(known):
    one, two = StagedMemory(None), StagedMemory(None)
    one.record([lesson("a", 1), lesson("b", 1)])
    one.cite([known], shown=[known], helped=True)
    two.record([lesson("b", 2)])
    two.cite([], shown=[known], helped=False)
    return [("run/one/1", one.operations), ("run/two/1", two.operations)]


def start(path):
    memory = open_memory(path)
    return memory, memory.record([lesson("known", 0)])[0].id


def test_every_crash_point_ends_in_the_same_memory(tmp_path):
    memory, known = start(tmp_path / "whole.sqlite")
    commit(memory, staged_by_two_trials(known), tmp_path / "whole.run")
    expected = memory.content_digest()
    assert {record.body: (record.cited, record.shown) for record in memory.records()}["known"] == (1, 2)
    for point in range(1, 4):
        for after in (False, True):
            memory, known = start(tmp_path / f"{point}{after}.sqlite")
            ledger = tmp_path / f"{point}{after}.run"
            with pytest.raises(Killed):
                commit(Mortal(memory, point, after), staged_by_two_trials(known), ledger)
            commit(memory, staged_by_two_trials(known), ledger)
            assert memory.content_digest() == expected


async def test_an_effect_happens_once(tmp_path):
    done = []

    async def act():
        done.append(1)
        return {"answer": len(done)}

    for _ in range(3):
        assert await Effects(tmp_path / "run.sqlite")("mail", act) == {"answer": 1}
    assert await Effects(tmp_path / "run.sqlite")("other", act) == {"answer": 2}
    assert len(done) == 2
