"""Several changes as one: all or nothing."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from reflectory.errors import MemoryFault
from reflectory.memory import open_memory


def test_together_is_all_or_nothing(tmp_path, rec):
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory, open_memory(path, read_only=True) as reader:
        with memory.together():
            [first] = memory.record([rec("one")])
            with memory.together():
                memory.mark(first.id, "quarantine")
            memory.cite([first.id])
            assert memory.find(first.id).status == "quarantined"
            assert reader.seq == 0
        assert reader.seq == 3
        kept = memory.content_digest()
        with pytest.raises(ZeroDivisionError), memory.together():  # noqa: PT012
            memory.record([rec("two")])
            memory.forget(first.id)
            raise ZeroDivisionError
        assert (memory.seq, memory.content_digest()) == (3, kept)
    with open_memory(path) as memory:
        assert memory.content_digest() == kept


def test_a_call_that_fails_inside_together_takes_back_only_itself(tmp_path, rec):
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        with memory.together():
            memory.record([rec("before")])
            with pytest.raises(MemoryFault, match="body"):
                memory.record([rec("half"), rec(" ")])
            with pytest.raises(ZeroDivisionError), memory.together():  # noqa: PT012
                memory.record([rec("inner")])
                raise ZeroDivisionError
            memory.record([rec("after")])
        assert [record.body for record in memory.records()] == ["before", "after"]
    with open_memory(path, read_only=True) as memory:
        assert [record.body for record in memory.records()] == ["before", "after"]


def test_a_full_disk_inside_together_loses_only_what_was_together(tmp_path, rec):
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        memory.record([rec("kept")])
        writer = memory._replica.journal._writer
        writer.execute(f"PRAGMA max_page_count = {writer.execute('PRAGMA page_count').fetchone()[0] + 2}")
        with pytest.raises(MemoryFault), memory.together():  # noqa: PT012
            memory.record([rec("first")])
            with contextlib.suppress(MemoryFault):
                memory.record([rec("x" * 100_000)])
            memory.record([rec("y" * 100_000)])
        assert [record.body for record in memory.records()] == ["kept"]
        writer.execute("PRAGMA max_page_count = 100000")
        memory.record([rec("more")])
    with open_memory(path, read_only=True) as memory:
        assert [record.body for record in memory.records()] == ["kept", "more"]


@pytest.mark.parametrize("error", [FileNotFoundError("theirs"), sqlite3.OperationalError("theirs"), UnicodeError("theirs")])
def test_errors_of_the_one_who_writes_stay_what_they_are(error, rec):
    with open_memory(None) as memory:
        with pytest.raises(type(error), match="theirs"), memory.together():  # noqa: PT012
            memory.record([rec("lost")])
            raise error
        assert memory.seq == 0
        with pytest.raises(MemoryFault, match="cannot be used"):
            memory.record([rec("half a pair", id="\ud800")])
