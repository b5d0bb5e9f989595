"""What a box cannot be made of, or asked for, is refused with a typed error before anything runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from boxes import ISOLATED, local

from reflectory.errors import SandboxError
from reflectory.sandbox import Settings, tried
from reflectory.sandbox.unsafe import Unsafe

TIERS = [*ISOLATED, "none"]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("environment", [{"A": 1}, {"A": "a\0b"}, {"A=B": "c"}, {"": "c"}, {"A\0": "c"}, {"A": "\ud800"}, {2: "c"}])
def test_what_is_no_environment_is_refused(
    tier: str, environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sandbox = local(tier, environment=environment)
    with pytest.raises(SandboxError, match="no variable of an environment"):
        sandbox.tier.launch(sandbox.settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tier", TIERS)
async def test_every_environment_that_is_one_arrives(tier: str) -> None:
    given = {"A": "", "with space": "a=b\nc", "BYTES": "\udcff", "ä": "ö"}
    async with await local(tier, environment=given).open() as box:
        done = await box.python(f"import os; {{name: os.environ.get(name) for name in {list(given)}}} == {given!a}")
        assert done.value == "True", done


@pytest.mark.parametrize("tier", TIERS)
def test_a_missing_interpreter_is_told(tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sandbox = local(tier, python=tmp_path / "missing/bin/python3")
    with pytest.raises(SandboxError, match=r"there is no interpreter .*missing"):
        sandbox.tier.launch(sandbox.settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tier", TIERS)
def test_a_path_that_can_be_none_is_told(tier: str) -> None:
    sandbox = local(tier, read_only=(Path("/a\0b"),))
    with pytest.raises(SandboxError, match="there is no"):
        sandbox.tier.launch(sandbox.settings)


def test_a_way_round_does_not_show_what_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/etc")
    for path in (Path("/usr/../etc"), Path("/usr/../etc/passwd"), Path("/usr/../tmp"), link, link / "passwd", Path("/usr/../proc/self")):
        sandbox = local("bubblewrap", read_only=(path,))
        with pytest.raises(SandboxError, match="cannot be shown"):
            sandbox.tier.launch(sandbox.settings)


@pytest.mark.parametrize("tier", ISOLATED)
async def test_a_way_round_to_what_may_be_shown_leads_there(tier: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x").write_text("inside")
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 1:
            folder.chmod(0o755)
    async with await local(tier, read_only=(tmp_path / "data/../data/x",)).open() as box:
        assert (await box.run(["cat", str(tmp_path / "data/x")])).stdout.text == "inside"


@pytest.mark.parametrize("tier", TIERS)
async def test_a_name_that_no_file_can_have_is_refused(tier: str) -> None:
    async with await local(tier).open() as box:
        with pytest.raises(SandboxError, match="no path inside"):
            await box.put({"\ud800": b""})
        assert (await box.run(["echo", "fine"])).stdout.text == "fine\n"


async def test_a_folder_is_removed_where_path_has_no_rm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = local("none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    async with await sandbox.open() as box:
        await box.put({"a/b": b""})
    assert not list(tmp_path.iterdir())


def test_what_stands_in_the_way_of_a_trial_is_the_reason_not_to_use_the_tier() -> None:
    def launch(settings: Settings) -> object:
        raise FileNotFoundError(2, "No such file or directory", "rm")

    assert tried.tried(Unsafe().launch)[1] == ""
    facts, why = tried.tried(launch)  # type: ignore[arg-type]
    assert (facts, "'rm'" in why) == ({}, True)
