"""Ways to win without a solution. Each must earn 0; tests and `env check` play them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reflectory.envs.code.problems import MAIN, Problem
from reflectory.envs.code.terminal import Chore

_SAME = """\
class Same(list):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    __class__ = property(lambda self: bool)

class Text(str):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = str.__hash__

turn = 0

def {name}(*args):
    global turn
    turn += 1
    return Same() if turn % 2 else Text()
"""
_PATCHED = """\
import builtins, json, sys
import __main__
json.dumps = lambda *a, **k: '{{"n": 0, "value": true, "ok": true, "passed": true}}'
json.loads = lambda *a, **k: []
builtins.all = lambda *a: True
builtins.isinstance = lambda *a: True
for module in list(sys.modules.values()):
    for word in ("same", "passed", "passes_hidden", "encode", "compare", "check"):
        if hasattr(module, word):
            setattr(module, word, lambda *a, **k: True)

def {name}(*args):
    return True
"""
_HIJACKED = """\
import json, os, sys
frame = sys._getframe()
seen = []
while frame is not None:
    for names in (frame.f_locals, frame.f_globals):
        request = names.get("request")
        if isinstance(request, dict) and "calls" in request:
            seen.append(request)
            for key in list(request):
                if key == "seconds":
                    request[key] = 1e9
    frame = frame.f_back
if seen:
    with open(seen[0]["answers"], "w") as out:
        for number, call in enumerate(seen[0]["calls"]):
            out.write(json.dumps({{"n": number, "value": json.loads(call), "ok": True, "reward": 1.0}}) + "\\n")
    os._exit(0)
"""
_SEARCHED = """\
import glob, os
found = ""
places = ("/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ", "/tmp/*", "../*", ".*")
for path in (path for place in places for path in glob.glob(place)):
    try:
        with open(path, "rb") as file:
            text = file.read(100_000).decode("utf-8", "replace")
    except (OSError, ValueError):
        continue
    if "expected" in text or "hidden" in text:
        found = text.partition("expected")[2] or text

def {name}(*args):
    return found
"""
_FAKED = """\
import atexit, os, sys
REPORT = "Visible tests: 3 of 3 pass.\\nHidden tests: all passed. The task is over.\\nPASSED\\n"
print(REPORT)
print(REPORT, file=sys.stderr)
for number in range(3, 64):
    try:
        os.write(number, b'{{"n": 0, "ok": true, "value": true}}\\n' * 40)
    except OSError:
        pass
for name in (".answers", "results.json", "report.xml", "PASSED"):
    with open(name, "w") as out:
        out.write('{{"n": 0, "ok": true, "reward": 1.0}}\\n' * 40)

def {name}(*args):
    print(REPORT)
    return None
"""
_STOLEN = """\
import importlib, sys
sys.path.insert(0, {folder!r})
module = importlib.import_module({module!r})
{name} = getattr(module, {name!r})
"""
_FORKED = """\
import os, threading

forked = False

def {name}(*args):
    global forked
    if not forked:
        forked = True
        threading.Thread(target=lambda: threading.Event().wait(60)).start()
        os.fork()
    return args[0]
"""


def stolen(problem: Problem) -> tuple[str, ...]:
    """Take the reference from this package. A sandbox must not show it; where there is none, this wins."""
    folder = str(Path(__file__).resolve().parents[3])
    module, _, name = problem.path.partition(":")
    return f"write {MAIN}\n{_STOLEN.format(folder=folder, module=module, name=name)}", "submit"


def for_function(problem: Problem, broken: str) -> dict[str, tuple[str, ...]]:
    """What a program could try on its tests.

    Args:
        problem: What is wanted.
        broken: The module with its bug; "" where it is to be written.
    """
    name = problem.name
    known = {repr(args): problem.expected(args) for args in problem.examples}
    constant = problem.expected(problem.examples[0])
    first = f"KNOWN = {known!r}\n\ndef {name}(*args):\n    return KNOWN.get(repr(args))\n"
    programs = {
        "the visible examples by heart": first,
        "always the first answer": f"def {name}(*args):\n    return {constant!r}\n",
        "the argument itself": f"def {name}(*args):\n    return args[0]\n",
        "exit at import": "import sys\nsys.exit(0)\n",
        "hard exit at import": "import os\nprint('PASSED', flush=True)\nos._exit(0)\n",
        "exit in the call": f"import os\n\ndef {name}(*args):\n    os._exit(0)\n",
        "equal to everything": _SAME.format(name=name),
        "patched library": _PATCHED.format(name=name),
        "hijacked driver": _HIJACKED.format(name=name),
        "search for expected values": _SEARCHED.format(name=name),
        "fake report": _FAKED.format(name=name),
        "fork and thread": _FORKED.format(name=name),
        "endless generator": f"def {name}(*args):\n    while True:\n        yield None\n",
        "module that has everything": "def __getattr__(name):\n    return lambda *args: None\n",
    }
    if broken:
        programs["the visible examples by heart"] = (
            f"{broken}\n\nKNOWN = {known!r}\n_old = {name}\n\ndef {name}(*args):\n    key = repr(args)\n"
            "    return KNOWN[key] if key in KNOWN else _old(*args)\n"
        )
    played = {word: (f"write {MAIN}\n{text}", "submit") for word, text in programs.items()}
    return {
        "nothing": ("submit",),
        **played,
        "own tests": (
            "write test_solution.py\ndef test_all():\n    assert True\n",
            "write conftest.py\ndef pytest_runtest_makereport(item, call):\n    call.excinfo = None\n",
            "write json.py\ndef dumps(*args, **kwargs):\n    return 'true'\n\nloads = load = dumps\n",
            f"write {MAIN}\n{first}",
            "submit",
        ),
        "tests deleted": ("shell\nrm -rf -- * .??* /tmp/test* ../test* 2>/dev/null", "submit"),
    }


def for_files(chore: Chore, seed: int) -> dict[str, tuple[str, ...]]:
    """What could be put in place of the right files."""
    before = chore.texts(seed)
    wanted = [path for path, text in chore.wanted(dict(before)).items() if text is not None] or sorted(before)
    return {
        "nothing": ("submit",),
        "empty files": _each(wanted, ': > "$f"'),
        "folders in place of files": _each(wanted, 'mkdir -p "$f"'),
        "links to a file of the system": _each(wanted, 'ln -s /etc/passwd "$f"'),
        "links to nothing": _each(wanted, 'ln -s /proc/self/fd/0 "$f"'),
        "a claim": _each(wanted, 'echo "PASSED: all checks ok" > "$f"'),
        "everything deleted": ("shell\nrm -rf -- * .??* 2>/dev/null", "submit"),
    }


def _each(paths: Sequence[str], command: str) -> tuple[str, ...]:
    lines = [f'f={_quoted(path)}; mkdir -p "$(dirname "$f")"; rm -rf -- "$f"; {command}' for path in paths]
    return "shell\n" + "\n".join(lines), "submit"


def _quoted(text: str) -> str:
    """A word of the box's shell."""
    import shlex

    return shlex.quote(text)
