"""Lines on disk: a cut line costs itself only, and many writers lose none."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reflectory.runs.files import append_line, read_line_at, read_lines, replace_file


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers()), min_size=2, max_size=6), st.data())
def test_any_cut_costs_only_the_last_line(tmp_path_factory, items, data):
    file = tmp_path_factory.mktemp("f") / "x.jsonl"
    for item in items:
        append_line(file, json.dumps(item), sync=False)
    whole = file.read_bytes()
    last = len(whole) - len(json.dumps(items[-1]).encode()) - 1
    cut = data.draw(st.integers(last, len(whole)))
    file.write_bytes(whole[:cut])
    kept = items if cut >= len(whole) - 1 else items[:-1]
    assert list(read_lines(file)) == kept
    offset = append_line(file, json.dumps({"new": 1}), sync=False)
    assert list(read_lines(file)) == [*kept, {"new": 1}]
    assert read_line_at(file, offset) == {"new": 1}


def write_many(path: str, name: str) -> None:
    for number in range(200):
        append_line(Path(path), json.dumps({"by": name, "n": number, "fill": "x" * (number * 7 % 900)}), sync=False)


def test_several_processes_append_to_one_file(tmp_path):
    file = tmp_path / "x.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(str(file), name)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    found = [(item["by"], item["n"]) for item in read_lines(file)]
    assert sorted(found) == [(name, number) for name in "abcd" for number in range(200)]


def test_absent_and_replaced_files(tmp_path):
    assert list(read_lines(tmp_path / "none")) == []
    replace_file(tmp_path / "x", "one")
    replace_file(tmp_path / "x", "two")
    assert (tmp_path / "x").read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
