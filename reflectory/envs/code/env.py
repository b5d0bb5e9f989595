"""Programming as an Env: write, run and test in a sandbox; hidden tests decide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reflectory.envs.code.actions import FORMS, Action, parse, replaced
from reflectory.envs.code.cheats import stolen
from reflectory.envs.code.checker import call_all
from reflectory.envs.code.exercise import Exercise, exercise_of
from reflectory.envs.code.problems import MAIN
from reflectory.envs.code.report import content, cut, listing, numbered, outcome, tests, world
from reflectory.envs.code.workspace import Workspace
from reflectory.errors import EnvError, SandboxError
from reflectory.records import Effect, Observation, Span, StepResult, Task

if TYPE_CHECKING:
    from reflectory.protocols import Sandbox

#: A file beside the references; who can read it can read them.
REFERENCES = str(Path(__file__).resolve().with_name("problems.py"))
#: Larger files are not written, in bytes.
MOST = 256 * 1024


class CodeEnv:
    """Functions to write, modules to repair, files to work on.

    Everything the agent runs, runs in one box of the sandbox, opened when the first thing runs. `submit` ends the episode: reward 1 where
    all hidden tests pass in a box of their own (or the files that came out are right), else 0.

    Args:
        sandbox: Opens the boxes; None takes the strongest tier that works on this machine, at first use.
    """

    blocking = False

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox
        self._exercise: Exercise | None = None
        self._workspace: Workspace | None = None
        self._over = False
        self._done = 0
        self._hidden = False

    @property
    def sandbox(self) -> Sandbox:
        """Where code runs.

        Raises:
            SandboxMissing: None was given, and no tier works here.
        """
        if self._sandbox is None:
            from reflectory.sandbox import LocalSandbox

            self._sandbox = LocalSandbox("auto")
        return self._sandbox

    @property
    def exercise(self) -> Exercise:
        """What is played.

        Raises:
            EnvError: Not reset yet.
        """
        if self._exercise is None:
            msg = "the code environment was not reset; call reset(task, seed=…) first"
            raise EnvError(msg)
        return self._exercise

    @property
    def workspace(self) -> Workspace:
        """The agent's files.

        Raises:
            EnvError: Not reset yet.
        """
        if self._workspace is None:
            msg = "the code environment was not reset; call reset(task, seed=…) first"
            raise EnvError(msg)
        return self._workspace

    async def reset(self, task: Task, *, seed: int) -> Observation:
        """Start the task in a new folder; the world's seed plays no part, the task's inputs name their own.

        Raises:
            ConfigError: The task was not made by this environment.
            EnvError: The task names an exercise that is not there.
            SandboxMissing: No sandbox works here.
            SandboxError: It would show programs the references.
        """
        await self.close()
        self._exercise = exercise_of(task)
        if not self._hidden:
            await self._hide()
        self._workspace = Workspace(self.sandbox, self._exercise.files, self._exercise.setup)
        self._over, self._done = False, 0
        if self._exercise.problem is None:
            await self._workspace.first()
        names = (await self._workspace.files()).keys()
        return Observation(f"{task.goal}\n\n{self._exercise.opening(names)}")

    async def step(self, action: str) -> StepResult:
        """Do one action; what does not work changes nothing and says which forms do.

        Raises:
            EnvError: Not reset yet.
            SandboxError: The sandbox cannot be opened; nothing is scored.
        """
        if self._over:
            return _refused("The task is over.")
        parsed = parse(action)
        if parsed.kind == "none":
            return _refused(f"{parsed.body} These work:\n{FORMS}")
        self._done += 1
        if parsed.kind == "submit":
            return await self._submit()
        if parsed.kind in {"python", "shell"}:
            return await self._execute(parsed)
        if parsed.kind == "block":
            return await self._block(parsed)
        if parsed.kind == "test":
            return await self._test()
        try:
            return await {"write": self._write, "edit": self._edit, "read": self._read, "list": self._list}[parsed.kind](parsed)
        except SandboxError as error:  # a folder of that name, a name too long; where the box is gone, the next step opens another
            await self.workspace.recover()
            return _refused(f"That did not work: {error}")

    async def close(self) -> None:
        """End the box; may be called twice."""
        if self._workspace is not None:
            await self._workspace.close()
            self._workspace = None

    def oracle(self) -> str:
        """The next action of a solution. For tests and upper bounds; uses what no agent may see."""
        solution = self.exercise.solution()
        return solution[min(self._done, len(solution) - 1)]

    def cheats(self) -> dict[str, tuple[str, ...]]:
        """Ways to win without a solution, by name; each must earn 0. For tests."""
        problem = self.exercise.problem
        if problem is None or self.sandbox.report.level == "none":
            return self.exercise.cheats()
        return {**self.exercise.cheats(), "the reference of this package": stolen(problem)}

    async def _hide(self) -> None:
        """Make sure, once, that programs cannot read the references; without a sandbox they can, and its report says so.

        Raises:
            SandboxError: They can.
        """
        if self.sandbox.report.level != "none":
            box = await self.sandbox.open()
            try:
                read = await box.run(["head", "-c", "1", REFERENCES])
            finally:
                await box.close()
            if read.ok:
                msg = (
                    f"programs in the sandbox could read {REFERENCES} and with it the reference solutions: no score would mean anything. "
                    "Install reflectory in a virtual environment outside the folders the sandbox shows (/usr, the interpreter's own), and "
                    "leave `packages` and `read_only` off it."
                )
                raise SandboxError(msg)
        self._hidden = True

    async def _submit(self) -> StepResult:
        won = await self.exercise.judge(self.workspace, self.sandbox)
        self._over = True
        await self.workspace.close()
        text = f"{self.exercise.judged}: {'all passed.' if won else 'not all passed.'} The task is over."
        return StepResult(observation=Observation(text), reward=float(won), terminated=True, effect=Effect(changed=True))

    async def _execute(self, action: Action) -> StepResult:
        python = action.kind == "python"
        executed = await (self.workspace.python if python else self.workspace.shell)(action.body)
        return _shown(outcome(executed, self.workspace.steady, "interpreter" if python else "shell"))

    async def _block(self, action: Action) -> StepResult:
        """A bare block of code is the whole program, to be tested; where files are worked on, it is something to run."""
        if self.exercise.problem is None:
            python = action.language in {"python", "py", "python3"}
            return await self._execute(Action("python" if python else "shell", body=action.body))
        written = await self._write(Action("write", MAIN, action.body))
        if written.effect.changed is False:
            return written
        tested = await self._test()
        spans = (*written.observation.spans, world("\n"), *tested.observation.spans)
        return StepResult(observation=Observation(spans=spans, elements=tested.observation.elements), effect=Effect(changed=True))

    async def _test(self) -> StepResult:
        problem = self.exercise.problem
        if problem is None:
            return _refused("There are no visible tests here; look at the files with `shell`, and `submit` when they are right.")
        files = await self.workspace.files()
        if MAIN not in files:
            return _refused(f"There is no {MAIN} yet; `write {MAIN}` first.")
        answers, printed = await call_all(self.sandbox, files, problem, problem.examples)
        return _shown(*tests(problem, answers, printed, self.workspace.steady))

    async def _write(self, action: Action) -> StepResult:
        return await self._put(action.path, action.body.encode("utf-8", "replace"))

    async def _put(self, path: str, data: bytes) -> StepResult:
        if len(data) > MOST:
            return _refused(f"A file may have {MOST // 1024} KB; this has {len(data) // 1024}.")
        await self.workspace.write(path, data)
        return _shown([world(f"Wrote {path} ({len(data)} bytes).")], changed=True)

    async def _edit(self, action: Action) -> StepResult:
        text = await self._text(action.path)
        if isinstance(text, StepResult):
            return text
        for number, (old, new) in enumerate(action.pieces, 1):
            places, changed = replaced(text, old, new)
            if places != 1:
                found = "not there" if places == 0 else f"there {places} times"
                return _refused(
                    f"Nothing was changed: the SEARCH lines of block {number} are {found}; they must stand in the file exactly once."
                )
            text = changed
        return await self._put(action.path, text.encode("utf-8", "surrogateescape"))

    async def _read(self, action: Action) -> StepResult:
        text = await self._text(action.path)
        if isinstance(text, StepResult):
            return text
        shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        lines = "".join(numbered(shown, *action.lines))
        return _shown([content(cut(lines, 12_000))] if lines else [world("No such lines." if text else "The file is empty.")])

    async def _list(self, action: Action) -> StepResult:
        return _shown(listing(await self.workspace.files()))

    async def _text(self, path: str) -> str | StepResult:
        """A file's text, bytes that are no UTF-8 as surrogates; or why there is none."""
        files = await self.workspace.files()
        if path not in files:
            return _refused(f"There is no file {path}.")
        if len(files[path]) > MOST:
            return _refused(f"{path} has more than {MOST // 1024} KB; look at it with `shell`.")
        return files[path].decode("utf-8", "surrogateescape")


def _refused(text: str) -> StepResult:
    return StepResult(observation=Observation(text), effect=Effect(changed=False, detail=text.partition("\n")[0]))


def _shown(spans: list[Span], elements: tuple[dict[str, object], ...] | None = None, *, changed: bool | None = None) -> StepResult:
    return StepResult(observation=Observation(spans=tuple(spans), elements=elements), effect=Effect(changed=changed))
