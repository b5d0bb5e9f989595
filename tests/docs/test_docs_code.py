"""Every code block of the pages runs, every command line parses, every link leads somewhere.

A block whose first line is `# name.py` is a file beside the page; the other blocks of a page run one after another in one namespace,
command lines among them. A comment `<!-- not run: why -->` before a block leaves it out of running; its command lines must parse even so.
"""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import types
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.main import get_command

from reflectory import errors
from reflectory.cli import main
from reflectory.cli.app import app
from reflectory.registry import BUILTIN

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "THREAT_MODEL.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^(?:<!-- not run: (?P<why>.+?) -->\n+)?```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


class Block(NamedTuple):
    kind: str
    body: str
    line: int
    skipped: bool


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["kind"], found["body"], text[: found.start("body")].count("\n"), found["why"] is not None)
        for found in BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[list[str]]:
    """The `reflectory` command lines of a shell block, as words; other programs' lines are not ours to check."""
    if block.kind != "bash":
        return []
    lines = block.body.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line and line[0] == "reflectory"]


def parse(words: list[str]) -> None:
    """Read a command line as the program would, without doing anything. Exits with status 2 when a word is unknown."""
    command, name, context = get_command(app), "reflectory", None
    while True:
        context = command.make_context(name, list(words), parent=context)
        if not hasattr(command, "resolve_command"):
            return
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def runnable(page: Path) -> bool:
    return any(not block.skipped and (block.kind == "python" or commands(block)) for block in blocks(page))


def test_the_parser_of_this_test_refuses_what_the_program_refuses():
    parse(["eval", "household", "--tasks", "generated:dev", "--json"])
    for wrong in (["evil"], ["eval", "--taks", "x"], ["memory", "lisst", "x"], ["show"]):
        with pytest.raises(Exception, match=r".") as refused:
            parse(wrong)
        assert getattr(refused.value, "exit_code", None) == 2


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_command_line_parses(page):
    refused = []
    for block in blocks(page):
        for words in commands(block):
            try:
                parse(words)
            except Exception as error:
                refused.append(f"line {block.line}: reflectory {' '.join(words)}: {error}")
    assert not refused


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    home = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", home)
    for block in blocks(page):
        if block.skipped:
            continue
        if block.kind == "python":
            run_python(block, page, tmp_path, home, monkeypatch)
        for words in commands(block):
            with pytest.raises(SystemExit) as ended:
                main(words)
            assert not ended.value.code, f"line {block.line}: reflectory {' '.join(words)}: {capsys.readouterr().err}"


def run_python(block: Block, page: Path, folder: Path, home: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    file = re.match(r"# (\w+)\.py\n", block.body)
    if file:
        (folder / f"{file[1]}.py").write_text(block.body, encoding="utf-8")
        importlib.invalidate_caches()
        monkeypatch.setitem(sys.modules, file[1], importlib.import_module(file[1]))
    else:
        # Empty lines before the code make a traceback's line numbers the page's.
        exec(compile("\n" * block.line + block.body, str(page), "exec"), home.__dict__)


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_link_leads_somewhere(page):
    for target in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        assert (page.parent / target).exists(), target


def test_the_map_names_every_page():
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / target).resolve() for target in LINK.findall(text)}
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - linked == {ROOT / "docs" / "README.md"}


def test_the_error_page_names_every_error_with_its_code_and_status():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    kinds = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.ReflectoryError)]
    for kind in kinds:
        row = next((line for line in text.splitlines() if line.startswith(f"| `{kind.__name__}` ")), "")
        assert f"`{kind.code}`" in row, kind
        assert f"| {kind.exit_status} |" in row, kind


def test_every_registered_name_stands_somewhere():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for kind, entries in BUILTIN.items():
        for name in entries:
            assert re.search(rf"[`:= ]{name}\b", text), f"{kind} {name} is documented nowhere"
