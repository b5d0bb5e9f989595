"""What holds for the repository as a whole: layout, sizes, what is never used, what the Makefile does first."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "reflectory"
SOURCES = sorted(PACKAGE.rglob("*.py"))
#: Modules that turn bytes into objects with code, or run code by design.
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE_ATTRIBUTES = {("os", "system"), ("os", "popen"), ("yaml", "load"), ("yaml", "unsafe_load"), ("subprocess", "getoutput")}


@pytest.mark.parametrize("name", ["agents", "memory", "tools", "envs", "graphs"])
def test_no_folder_is_importable_by_its_bare_name(name):
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"No module named '{name}'" in done.stderr


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_folder_exports_at_most_ten_names_and_all_of_them_are_there(path):
    name = ".".join(path.parent.relative_to(ROOT).parts)
    exported = getattr(importlib.import_module(name), "__all__", [])
    assert len(exported) <= 10
    for item in exported:
        assert getattr(importlib.import_module(name), item) is not None


def test_no_file_is_longer_than_400_lines():
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): lines for path in files if (lines := len(path.read_text().splitlines())) > 400}
    assert not long


@pytest.mark.parametrize(("page", "most"), [("README.md", 150), ("CONTRIBUTING.md", 80)])
def test_pages_stay_short(page, most):
    assert len((ROOT / page).read_text().splitlines()) <= most


def unsafe(tree: ast.AST) -> list[str]:
    """What a module does that no part of this package may do."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNSAFE_MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in UNSAFE_CALLS:
                found.append(called.id)
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                found += [f"{called.value.id}.{called.attr}"] if (called.value.id, called.attr) in UNSAFE_ATTRIBUTES else []
            for keyword in node.keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                found += [f"{keyword.arg}="] if keyword.arg in {"trust_remote_code", "shell", "allow_pickle"} and not off else []
                found += ["weights_only=False"] if keyword.arg == "weights_only" and off else []
    return found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "exec(text)",
        "run('ls', shell=True)",
        "Auto.from_pretrained(name, trust_remote_code=True)",
        "os.system('ls')",
        "yaml.load(text)",
        "numpy.load(path, allow_pickle=flag)",
        "torch.load(path, weights_only=False)",
    ],
)
def test_the_check_below_finds_what_it_looks_for(code):
    assert unsafe(ast.parse(code))


def test_the_check_below_lets_the_harmless_pass():
    assert not unsafe(
        ast.parse("model.eval()\nre.compile(x)\nyaml.safe_load(x)\nrun(['ls'], shell=False)\ntorch.load(path, weights_only=True)")
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_code_from_data(path):
    # The interpreter of the sandbox is there to run code; it runs inside, where nobody vouches for anything.
    allowed = {"eval", "exec", "compile"} if path == PACKAGE / "sandbox" / "guest" / "interpreter.py" else set()
    assert set(unsafe(ast.parse(path.read_text(encoding="utf-8")))) <= allowed


def test_langgraph_json_names_functions_that_are_there():
    for target in json.loads((ROOT / "langgraph.json").read_text())["graphs"].values():
        file, _, function = target.partition(":")
        module = ".".join(Path(file).with_suffix("").parts)
        assert (ROOT / file).is_file()
        assert callable(getattr(importlib.import_module(module), function))


def test_every_target_installs_torch_first_into_the_virtual_environment(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for target, extras in {"test": "minilm", "setup": "alfworld", "demo": "local", "bench": "minilm", "docs": "dev"}.items():
        command = ["make", "-n", target, f"VENV={tmp_path}/venv", "TORCH=torch==9.9 --index-url https://example.org"]
        planned = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        installs = [line for line in planned.splitlines() if " install " in line and line.startswith(f"{tmp_path}/venv/bin/python -m pip")]
        assert installs[0].endswith("install torch==9.9 --index-url https://example.org")
        assert len(installs) == 2
        assert "-e " in installs[1]
        assert extras in installs[1]


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"
