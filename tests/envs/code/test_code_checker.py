"""What a submitted program can do, and what it cannot."""

from __future__ import annotations

import asyncio
import time

import pytest

from reflectory.envs.code import checker
from reflectory.envs.code.checker import call_all, passes_hidden
from reflectory.envs.code.problems import Problem, find
from reflectory.envs.code.report import tests as shown
from reflectory.execution import Limits
from reflectory.sandbox import LocalSandbox, Settings

ROMAN: Problem = find("reflectory.envs.code.bank.strings:to_roman")
ACCOUNT: Problem = find("reflectory.envs.code.bank.machines:account")


@pytest.fixture(autouse=True)
def short_calls(monkeypatch):
    monkeypatch.setattr(checker, "CALL_SECONDS", 0.4)


class Spy:
    """A sandbox that keeps all that goes into its boxes."""

    def __init__(self, inner):
        self.inner, self.sent, self.opened = inner, b"", 0
        self.report, self.limits = inner.report, inner.limits

    async def open(self):
        self.opened += 1
        box = await self.inner.open()
        spy = self

        class Watched:
            async def put(self, files):
                spy.sent += b"".join(name.encode() + content for name, content in files.items())
                await box.put(files)

            async def run(self, argv, *, stdin=b"", seconds=None):
                spy.sent += " ".join(argv).encode() + stdin
                return await box.run(argv, stdin=stdin, seconds=seconds)

            async def get(self, *patterns):
                return await box.get(*patterns)

            async def close(self):
                await box.close()

        return Watched()


async def submit(sandbox, program: str, problem: Problem = ROMAN) -> bool:
    return await passes_hidden(sandbox, {"solution.py": program.encode()}, problem, 0)


async def one(sandbox, program: str, problem: Problem = ROMAN, args=(9,)):
    answers, _ = await call_all(sandbox, {"solution.py": program.encode()}, problem, [args])
    return answers[0]


async def test_no_expected_value_ever_goes_into_a_sandbox(sandbox):
    spy = Spy(sandbox)
    assert await passes_hidden(spy, {"solution.py": b"def to_roman(number):\n    return ''\n"}, ROMAN, 0) is False
    expected = [ROMAN.expected(args) for args in ROMAN.hidden(0)]
    long = [text.encode() for text in expected if len(text) > 3]
    assert len(long) > 10
    assert not any(text in spy.sent for text in long)
    assert all(str(args[0]).encode() in spy.sent for args in ROMAN.hidden(0))


async def test_a_right_program_passes_however_it_is_built(sandbox):
    assert await submit(sandbox, ROMAN.source)
    split = {"solution.py": b"from parts.roman import to_roman\n", "parts/roman.py": ROMAN.source.encode(), "notes.txt": b"x"}
    assert await passes_hidden(sandbox, split, ROMAN, 0)
    assert await submit(sandbox, f"print('hello' * 9999)\n{ROMAN.source}")
    assert await submit(sandbox, f"import threading\nthreading.Thread(target=threading.Event().wait).start()\n{ROMAN.source}")


async def test_each_submission_runs_in_a_box_of_its_own(sandbox):
    spy = Spy(sandbox)
    await passes_hidden(spy, {"solution.py": ROMAN.source.encode()}, ROMAN, 0)
    await passes_hidden(spy, {"solution.py": ROMAN.source.encode()}, ROMAN, 0)
    assert spy.opened == 2


async def test_answers_by_the_number_of_the_call_are_caught(sandbox):
    answers = [ROMAN.expected(args) for args in ROMAN.hidden(0)]
    program = f"ANSWERS = iter({answers!r} * 2)\n\ndef to_roman(number):\n    return next(ANSWERS)\n"
    assert await submit(sandbox, program) is False


async def test_a_function_that_keeps_something_between_calls_is_caught(sandbox):
    remembering = ACCOUNT.source.replace("history: list[int] = []", "history = account.__dict__.setdefault('h', [])")
    assert remembering != ACCOUNT.source
    assert await submit(sandbox, remembering, ACCOUNT) is False


async def test_changing_the_arguments_changes_no_later_call(sandbox):
    assert await submit(sandbox, ACCOUNT.source.replace("    return balances", "    operations.clear()\n    return balances"), ACCOUNT)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return 1/0", "it raised ZeroDivisionError"),
        ("raise SystemExit(0)", "it raised SystemExit"),
        ("raise KeyboardInterrupt", "it raised KeyboardInterrupt"),
        ("import os; os._exit(0)", "the program ended before it returned"),
        ("import os; os.kill(os.getpid(), 9)", "the program ended before it returned"),
        ("return float('nan')", "nan is no plain data"),
        ("return object()", "object is no plain data"),
        ("return (x for x in ())", "generator is no plain data"),
        ("return 'x' * 10**7", "its answer is too long"),
        ("return 10**10000", "it"),
        ("return to_roman(number)", "it raised RecursionError"),
        ("a = []; a.append(a); return a", "it"),
        ("while True: pass", "it took longer than 0.4 s"),
    ],
)
async def test_what_returns_nothing_that_counts_says_why(sandbox, body, why):
    answer = await one(sandbox, f"def to_roman(number):\n    {body}\n")
    assert why in answer.why
    assert answer.why


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("def other(): pass", "AttributeError"),
        ("def to_roman(:", "SyntaxError"),
        ("import nowhere", "ModuleNotFoundError"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import os; os._exit(0)", "ended before"),
        ("to_roman = 5", "TypeError"),
        ("", "AttributeError"),
    ],
)
async def test_a_module_that_cannot_be_used_says_why(sandbox, program, why):
    assert why in (await one(sandbox, program)).why


async def test_traces_begin_in_the_submitted_file(sandbox):
    answer = await one(sandbox, "def inner(n):\n    return [][n]\n\ndef to_roman(number):\n    return inner(number)\n")
    assert answer.trace.splitlines() == [
        "solution.py:5 in to_roman: return inner(number)",
        "solution.py:2 in inner: return [][n]",
        "IndexError: list index out of range",
    ]


async def test_an_exception_that_breaks_when_it_is_shown_is_still_one(sandbox):
    program = "class E(Exception):\n    def __str__(self): raise E\n\ndef to_roman(number):\n    raise E\n"
    assert (await one(sandbox, program)).why == "it raised E"


async def test_a_program_that_swallows_its_timeout_ends_with_the_box():
    hanging = "import time\n\ndef to_roman(number):\n    while True:\n        try: time.sleep(60)\n        except BaseException: pass\n"
    short = LocalSandbox("none", allow_unsafe=True, settings=Settings(limits=Limits(seconds=1)))
    began = time.monotonic()
    assert "limit of time" in (await one(short, hanging)).why
    assert time.monotonic() - began < 5


async def test_a_hanging_program_costs_one_call_not_all(sandbox):
    began = time.monotonic()
    assert await submit(sandbox, "def to_roman(number):\n    while True: pass\n") is False
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\xff\xfe", b"[]", b"5", b"{}", b'{"n": "0", "value": "X"}', b'{"n": true, "value": "IX"}', b'{"n": 0.0, "value": "IX"}',
        b'{"n": 0, "value": NaN}', b"[" * 100_000, b'{"n": 0}' * 3, b'{"n": 0, "value": ["list"]}', b'{"n": 0, "value": {"a": 1}}',
        b'{"n": 0, "value": ' + b'["list", [' * 52 + b"]]" * 52 + b"}",
        b'{"n": 0, "value": "' + b"x" * 300_000 + b'"}', b'"' + b'\\"' * 60_000,
        b'{"n": 1, "value": "IX"}', b'{"n": 99999999999999999999, "value": "IX"}',
    ],
)  # fmt: skip
async def test_forged_answers_that_are_no_answers_break_nothing(sandbox, line):
    program = f"import os\nopen('.answers', 'wb').write({line!r} + b'\\n')\nos._exit(0)\n"
    answer = await one(sandbox, program)
    assert answer.why
    assert answer.value is None


async def test_two_answers_to_one_call_are_none(sandbox):
    program = "import os\n\ndef to_roman(number):\n    pid = os.fork()\n    pid and os.waitpid(pid, 0)\n    return 'IX'\n"
    assert (await one(sandbox, program)).why == "it answered twice"


async def test_a_program_that_is_too_large_is_not_run(sandbox):
    answer = await one(sandbox, "#" * 600_000)
    assert "larger than" in answer.why


async def test_own_modules_in_place_of_the_library_reach_nobody_else(sandbox):
    files = {
        "solution.py": ROMAN.source.encode(),
        "json.py": b"1/0\n",
        "signal.py": b"1/0\n",
        "traceback.py": b"1/0\n",
        "linecache.py": b"1/0",
    }
    assert await passes_hidden(sandbox, files, ROMAN, 0)
    wrong = {**files, "solution.py": b"def to_roman(number):\n    return ''\n"}
    assert await passes_hidden(sandbox, wrong, ROMAN, 0) is False


async def test_sets_come_in_the_same_order_every_time(sandbox):
    program = "def to_roman(number):\n    return list({str(n) for n in range(50)})\n"
    assert (await one(sandbox, program)).value == (await one(sandbox, program)).value


async def test_answers_that_are_large_and_deep_do_not_hold_up_the_event_loop(sandbox):
    """The program writes the answers itself, as much as it can; meanwhile others go on."""
    deep = '["list", [' * 48 + '["list", [' + "0, " * 5000 + "0]]" + "]]" * 48
    program = (
        "import os\n\ndef two_teams(*args):\n    with open('.answers', 'w') as out:\n"
        f'        for n in range(90): out.write(\'{{"n": %d, "value": {deep}}}\\n\' % n)\n    os._exit(0)\n'
    )
    problem = find("reflectory.envs.code.bank.graphs:two_teams")
    longest, last = 0.0, time.monotonic()

    async def beat():
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    beating = asyncio.create_task(beat())
    answers, printed = await call_all(sandbox, {"solution.py": program.encode()}, problem, problem.examples)
    spans, _ = shown(problem, answers, printed, str)
    beating.cancel()
    assert not answers[0].why
    assert sum(len(span.text) for span in spans) < 20_000
    assert longest < 0.5


async def test_more_answers_than_are_read_are_none(sandbox):
    program = "import os\nopen('.answers', 'w').write('{\"n\": 0, \"value\": \"IX\"}\\n' + '\\n' * 3_000_000)\nos._exit(0)\n"
    assert (await one(sandbox, program)).why
