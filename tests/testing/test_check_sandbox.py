"""The conformance suite of sandboxes says what gets out of one, and nothing of one that holds."""

from __future__ import annotations

import pytest

from reflectory.errors import ConfigError
from reflectory.sandbox import LocalSandbox, Settings, reports
from reflectory.sandbox.probes import SMALL
from reflectory.testing import check_sandbox

AVAILABLE = [report.tier for report in reports() if report.available and report.level != "none"]
SOME = [
    "read_absolute",
    "read_symlink",
    "delete_file",
    "signal_process",
    "read_environment",
    "unix_abstract",
    "unshare_user",
    "swapped_file",
]


class Named:
    """A user's own sandbox that calls itself strong."""

    def __init__(self, inner, leaks=()):
        self._inner = inner
        self.report = inner.report.model_copy(update={"tier": "own", "level": "namespace", "leaks": leaks})
        self.limits = inner.limits

    async def open(self):
        return await self._inner.open()


def boxes(tier, limits=SMALL):
    return LocalSandbox(tier, settings=Settings(limits=limits), allow_unsafe=True)


def test_a_sandbox_that_keeps_nothing_in_is_told_so_in_one_sentence_per_escape():
    problems = check_sandbox(Named(boxes("none")), only=["read_absolute", "delete_file", "signal_process"])
    assert [problem.partition(":")[0] for problem in problems] == ["files/read_absolute", "writes/delete_file", "processes/signal_process"]
    assert "content of a file" in problems[0]
    assert "victim" in problems[1]
    assert "signals" in problems[2]


def test_what_the_report_admits_is_no_problem():
    name = "stat_file"
    assert check_sandbox(Named(boxes("none")), only=[name])
    assert check_sandbox(Named(boxes("none"), ("files: everything is seen with stat",)), only=[name]) == []
    assert check_sandbox(Named(boxes("none"), ("files: all of them", "stat: works")), only=[name])


def test_a_general_admission_excuses_nothing_that_no_report_may_admit():
    assert check_sandbox(Named(boxes("none"), ("files writes processes network: everything",)), only=["read_absolute"])


@pytest.mark.parametrize("tier", AVAILABLE)
def test_the_tiers_of_this_machine_hold(tier):
    assert check_sandbox(boxes(tier), only=SOME) == []


def test_an_unknown_probe_is_refused():
    with pytest.raises(ConfigError, match="read_absolute"):
        check_sandbox(boxes("none"), only=["read_absolut"])


def test_limits_are_not_strained_where_what_did_not_hold_would_do_harm():
    said = []
    assert check_sandbox(Named(boxes("none", SMALL.model_copy(update={"processes": 500}))), only=["fork_bomb"], say=said.append) == []
    assert len(said) == 3  # two mild ones come first
    assert all("skipped" in line and "processes" in line for line in said)
