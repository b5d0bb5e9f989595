"""`reflectory memory`: every command, in JSON and as text, and how it ends."""

from __future__ import annotations

import json

import pytest

from reflectory.cli import main
from reflectory.memory import open_memory
from reflectory.records import Origin, Query, Record


def call(capsys, *arguments):
    """Exit status, the whole of stdout, stderr."""
    with pytest.raises(SystemExit) as ended:
        main(["memory", *(str(argument) for argument in arguments)])
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out, printed.err


def value(capsys, *arguments):
    """The JSON of a command that ran; it must be the only line."""
    status, out, _ = call(capsys, *arguments, "--json")
    assert status == 0
    [line] = out.splitlines()
    return json.loads(line)


@pytest.fixture
def folder(tmp_path):
    """A memory with five events: two lessons, a citation, a snapshot, a quarantine."""
    place = tmp_path / "memory"
    with open_memory(place / "journal.sqlite") as memory:
        one, two = memory.record([lesson("heat the mug in the microwave", "e1"), lesson("cool the plate in the fridge", "e2")])
        memory.cite([one.id], shown=[one.id, two.id], helped=True)
        memory.snapshot("good")
        memory.mark(two.id, "quarantine", reason="deviates")
    return place


def lesson(body, source):
    return Record(id="", namespace=("n",), kind="lesson", body=body, task_key="t", origin=Origin(kind="world", source=source))


def ids(folder):
    with open_memory(folder / "journal.sqlite", read_only=True) as memory:
        return [record.id for record in memory.records()]


def test_snapshot_diff_rollback_and_undo(folder, capsys):
    one, two = ids(folder)
    assert value(capsys, "snapshot", folder) == {"good": 3}
    assert value(capsys, "diff", folder, "good")["status"] == [{"id": two, "old": "active", "new": "quarantined"}]
    assert value(capsys, "diff", folder, 0, 2)["added"][0]["id"] == one
    assert value(capsys, "rollback", folder, "good") == {"seq": 6, "records": 2}
    assert [record["status"] for record in value(capsys, "list", folder)] == ["active", "active"]
    assert [record["status"] for record in value(capsys, "list", folder, "--as-of", 5)] == ["active", "quarantined"]
    assert value(capsys, "undo", folder, 6) == {"seq": 7, "undone": 6, "records": 2}
    assert value(capsys, "diff", folder, "good")["status"][0]["new"] == "quarantined"
    assert value(capsys, "snapshot", folder, "now") == {"good": 3, "now": 7}
    status, out, _ = call(capsys, "diff", folder, 0)
    assert (status, out.count("\n+ ")) == (0, 2)
    status, out, _ = call(capsys, "diff", folder, 2)
    assert f"! {two}  active → quarantined" in out
    assert f"# {one}  shown +1, cited +1, helped +1" in out


def test_audit_explains(folder, capsys):
    one, two = ids(folder)
    told = value(capsys, "audit", folder, one, "--query", "heat a mug")
    assert told["sources"] == ["e1"]
    assert (told["query"]["verdict"], told["query"]["rank"], told["query"]["candidates"]) == ("retrieved", 1, 1)
    with open_memory(folder / "journal.sqlite", read_only=True) as memory:
        assert told["query"]["score"] == memory.recall(Query(text="heat a mug"))[0].score
    told = value(capsys, "audit", folder, two, "--query", "cool", "--task", "other", "--namespace", "n/x")
    assert [check["check"] for check in told["query"]["checks"] if not check["ok"]] == ["status", "namespace", "scope"]
    status, out, _ = call(capsys, "audit", folder, two, "--query", "cool")
    assert status == 0
    assert "quarantined: deviates" in out
    assert "rejected: its status is quarantined." in out
    assert "query" not in value(capsys, "audit", folder, two)
    assert value(capsys, "search", folder, "mug", "--as-of", "good")[0]["record"]["id"] == one


def test_export_and_import(folder, tmp_path, capsys):
    file, other = tmp_path / "out.jsonl", tmp_path / "other"
    status, out, _ = call(capsys, "export", folder)
    assert status == 0
    told = value(capsys, "export", folder, "--out", file)
    assert (told["records"], file.read_text()) == (2, out)
    report = value(capsys, "import", other, file)
    assert (report["imported"], report["demoted"], report["refused"]) == (2, 2, 0)
    records = value(capsys, "list", other)
    assert {(record["kind"], record["origin"]["source"]) for record in records} == {("fact", "out.jsonl")}
    file.write_bytes(out.encode() + b'{"body": 3}\n\xff\n{"body": "one more"}\n')
    status, out, _ = call(capsys, "import", other, file, "--source", "a friend", "--json")
    report = json.loads(out)
    assert (status, report["imported"], report["known"], report["refused"]) == (1, 1, 2, 2)
    assert [number for number, _ in report["why"]] == [3, 4]
    status, out, _ = call(capsys, "import", other, file)
    assert (status, "line 4: " in out) == (1, True)


def test_rebuild_checks_the_journal(folder, capsys):
    report = value(capsys, "rebuild", folder)
    assert (report["events"], report["records"], report["unchanged"]) == (5, 2, True)
    data = (folder / "journal.sqlite").read_bytes()
    (folder / "journal.sqlite").write_bytes(data.replace(b"heat the mug", b"heat the gun"))
    status, out, said = call(capsys, "rebuild", folder)
    assert (status, out) == (1, "")
    assert "damaged at event 1" in said


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["rollback", "DIR", "nowhere"], 1, "no snapshot 'nowhere'"),
        (["rollback", "DIR", "99"], 1, "no journal position 99"),
        (["undo", "DIR", "99"], 1, "no event 99"),
        (["undo", "DIR", "x"], 2, "valid integer"),
        (["snapshot", "DIR", "good"], 1, "already"),
        (["diff", "DIR", "god"], 1, "Did you mean good"),
        (["audit", "DIR", "nobody"], 1, "no record 'nobody'"),
        (["audit", "DIR", "x", "--query", "y", "--task", "a", "--situation", "b"], 2, "--task or --situation"),
        (["export", "DIR", "--json"], 2, "--out"),
        (["export", "DIR", "--out", "/nowhere/at/all"], 2, "cannot write"),
        (["import", "DIR", "nofile.jsonl"], 3, "cannot read"),
        *((name.split(), 3, "no memory") for name in ("export none", "rebuild none", "snapshot none x", "rollback none 1", "undo none 1")),
    ],
)
def test_how_it_ends(folder, capsys, arguments, status, says):
    before = (folder / "journal.sqlite").read_bytes()
    ended, out, said = call(capsys, *(str(folder) if argument == "DIR" else argument for argument in arguments))
    assert (ended, out) == (status, "")
    assert says in said
    assert "Traceback" not in said
    assert (folder / "journal.sqlite").read_bytes() == before
