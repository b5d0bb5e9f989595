"""What every environment must keep to: an oracle wins, doing nothing and cheating do not, seeds reproduce, snapshots come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from reflectory.errors import ConfigError, ReflectoryError
from reflectory.protocols import Env, Snapshots
from reflectory.records import Observation, StepResult, Task
from reflectory.runs.runner import synchronous
from reflectory.runs.session import Caller

#: Says the next action of a solution: (environment, task) → action; asked again after every step.
Oracle = Callable[[Any, Task], str]
#: A solution longer than this is none.
LONGEST = 1000
#: An action no world has.
NONSENSE = "xyzzy plugh"


class _Played(NamedTuple):
    start: Observation
    results: list[StepResult]

    @property
    def reward(self) -> float:
        return sum(result.reward for result in self.results)

    def trace(self) -> list[tuple[str, float, bool, bool | None]]:
        seen = [(result.observation.digest(), result.reward, result.terminated, result.effect.changed) for result in self.results]
        return [(self.start.digest(), 0.0, False, None), *seen]


def check_env(env_factory: Callable[[], Env], tasks: Sequence[Task], oracle: Oracle | None = None) -> list[str]:
    """Play every task with an oracle, with nonsense, with each cheat it names (`cheats()`), twice with one seed, and over a snapshot.

    Args:
        env_factory: Makes a new environment.
        tasks: What to play; a handful is enough.
        oracle: Says the next action of a solution; None asks the environment's own `oracle()`.

    Returns:
        One sentence per broken promise; empty when all are kept.

    Raises:
        ConfigError: There are no tasks, or nothing knows the solutions.
    """
    if not tasks:
        msg = "check_env needs at least one task."
        raise ConfigError(msg)
    if oracle is None:
        if not hasattr(env_factory(), "oracle"):
            msg = "nothing knows the solutions. Pass `oracle=`, or give the environment a method `oracle()` that says the next action."
            raise ConfigError(msg)
        oracle = _own_oracle
    problems: list[str] = []
    for task in tasks:
        try:
            problems += [f"task {task.key!r}: {problem}" for problem in synchronous(_check(env_factory, task, oracle))]
        except ReflectoryError as error:
            problems.append(f"task {task.key!r}: {error}")
    return problems


def _own_oracle(env: Any, task: Task) -> str:
    return str(env.oracle())


async def _solve(call: Caller, task: Task, oracle: Oracle) -> tuple[list[str], _Played]:
    """The oracle's actions and what came of them."""
    start = await call(call.env.reset, task, seed=task.seed)
    actions: list[str] = []
    results: list[StepResult] = []
    while len(actions) < LONGEST and not (results and results[-1].terminated):
        actions.append(await call(oracle, call.env, task))
        results.append(await call(call.env.step, actions[-1]))
    return actions, _Played(start, results)


async def _check(factory: Callable[[], Env], task: Task, oracle: Oracle) -> list[str]:
    problems = []
    call = Caller(factory())
    actions, solved = await _solve(call, task, oracle)
    if solved.reward < 1.0 or not (solved.results and solved.results[-1].terminated):
        problems.append(f"the oracle's {len(actions)} actions earn {solved.reward:g} instead of 1 and a terminated world")
    again = await _play(call, task, actions)
    other = Caller(factory())
    elsewhere = await _play(other, task, actions)
    if not solved.trace() == again.trace() == elsewhere.trace():
        problems.append("the same seed and actions do not give the same observations, rewards and effects")
    idle = await _play(call, task, [NONSENSE] * 3)
    if idle.reward > 0 or any(result.terminated for result in idle.results):
        problems.append(f"nonsense actions earn {idle.reward:g} or end the world")
    if any(result.effect.changed for result in idle.results):
        problems.append("a nonsense action is reported to have changed something")
    problems += await _cheats(call, task)
    if isinstance(call.env, Snapshots):
        problems += await _snapshots(call, other, task, (actions, solved))
    for caller in (call, other):
        await caller(caller.env.close)
        await caller.close()  # closing twice must be harmless
    return problems


async def _cheats(call: Caller, task: Task) -> list[str]:
    """Play every way to cheat that the environment names."""
    if not callable(getattr(call.env, "cheats", None)):
        return []
    await call(call.env.reset, task, seed=task.seed)
    ways: dict[str, Sequence[str]] = await call(call.env.cheats)  # type: ignore[attr-defined]
    rewards = {name: (await _play(call, task, actions)).reward for name, actions in ways.items()}
    return [f"the cheat {name!r} earns {reward:g}" for name, reward in rewards.items() if reward > 0]


async def _snapshots(call: Caller, other: Caller, task: Task, solution: tuple[list[str], _Played]) -> list[str]:
    """Save in the middle of the solution, restore in another environment, go on to the end there."""
    actions, solved = solution
    half = len(actions) // 2
    before = await _play(call, task, actions[:half])
    shown = before.results[-1].observation if before.results else before.start
    token = call.env.snapshot()  # type: ignore[attr-defined]
    await other(other.env.reset, task, seed=task.seed)
    restored = await other(other.env.restore, token)  # type: ignore[attr-defined]
    if restored.digest() != shown.digest():
        return ["restore() shows something else than when the snapshot was taken"]
    rest = [await other(other.env.step, action) for action in actions[half:]]
    if _Played(shown, rest).trace()[1:] != solved.trace()[half + 1 :]:
        return ["after restore() the same actions do not lead to the same end"]
    return []


async def _play(call: Caller, task: Task, actions: Sequence[str]) -> _Played:
    start = await call(call.env.reset, task, seed=task.seed)
    results = []
    for action in actions:
        results.append(await call(call.env.step, action))
        if results[-1].terminated:
            break
    return _Played(start, results)
