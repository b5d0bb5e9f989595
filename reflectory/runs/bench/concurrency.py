"""What the framework costs: episodes in flight through the Runner against a hand-written batch loop that plays the same games."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from reflectory.agents.view import Turn
from reflectory.agents.views.tracked import TrackedView
from reflectory.envs.household import HouseholdEnv, HouseholdTracker
from reflectory.errors import ConfigError
from reflectory.records import Observation, Task
from reflectory.runs.runner import Runner

if TYPE_CHECKING:
    import torch

    from reflectory.models.engine import Engine
    from reflectory.models.local import LocalChatModel


def bench_concurrency(out: Path, tasks: Sequence[Task], *, model: str = "embedded", width: int = 16, rounds: int = 3) -> dict[str, Any]:
    """Play the tasks `width` at a time through the Runner, and with a hand-written loop; alternately, the median of the rounds counts.

    The hand-written loop does what somebody without a framework would write: one Python loop over `width` games, one left-padded batch with
    a key/value cache, greedy choice among the admissible actions token by token, log-probabilities and entropies read as the Runner records
    them. It keeps no run directory, memory, budget or resumability.

    Args:
        out: Folder for the Runner's runs.
        tasks: Household tasks.
        model: A local model.
        width: Episodes in flight, and batch of the hand-written loop.
        rounds: How often each is timed.

    Returns:
        steps_per_s, by_hand_steps_per_s, ratio, identical (share of games with the same number of actions and the same end), steps.

    Raises:
        ConfigError: The model is no local one.
    """
    local = _local(model)
    ours, hand, same = list[float](), list[float](), 0.0
    for number in range(rounds + 1):
        config = {"concurrency": width, "out": str(out / str(number)), "scope": "none"}
        runner = Runner(graph="act", model=local, memory="none", config=config)
        metrics, (played, rate) = runner.eval(tasks), _by_hand(local.engine, tasks, width)
        if number:  # the first round warms both up
            ours.append(metrics.steps_per_s)
            hand.append(rate)
        else:
            same = _same(runner, played)
    return {
        "width": width,
        "tasks": len(tasks),
        "steps": sum(count for _, count, _ in played),
        "steps_per_s": statistics.median(ours),
        "by_hand_steps_per_s": statistics.median(hand),
        "ratio": statistics.median(a / b for a, b in zip(ours, hand, strict=True)),
        "identical": same,
        "model": local.name,
    }


def _by_hand(engine: Engine, tasks: Sequence[Task], width: int) -> tuple[list[tuple[str, int, bool]], float]:
    """What the hand-written loop played, and its steps per second."""
    began = time.perf_counter()
    played = list(_Loop(engine, width).play(tasks))
    return played, sum(count for _, count, _ in played) / (time.perf_counter() - began)


def _local(model: str) -> LocalChatModel:
    from reflectory.models import resolve_model
    from reflectory.models.local import LocalChatModel

    found = resolve_model(model)
    if not isinstance(found, LocalChatModel):
        msg = f"the concurrency benchmark needs a local model, not {model!r}; take embedded or hf:NAME"
        raise ConfigError(msg)
    return found


def _same(runner: Runner, played: Sequence[tuple[str, int, bool]]) -> float:
    from reflectory.runs.directory import RunDirectory

    results = RunDirectory.open(Path(str(runner.setup.config.out))).results()
    equal = [results[1, key]["steps"] == count and results[1, key]["won"] == won for key, count, won in played]
    return float(sum(equal) / len(equal))


@dataclass
class _Game:
    """A game in progress."""

    task: Task
    env: HouseholdEnv = field(default_factory=HouseholdEnv)
    tracker: HouseholdTracker = field(default_factory=HouseholdTracker)
    steps: int = 0
    done: bool = False
    observation: Observation = field(default_factory=lambda: Observation(""))

    def begin(self) -> None:
        self.observation = self.env.reset(self.task, seed=0)
        self.tracker.observe(None, self.observation)

    def act(self, action: str) -> None:
        result = self.env.step(action)
        self.observation, self.done = result.observation, result.terminated
        self.steps += 1
        self.tracker.observe(action, self.observation)


class _Loop:
    """The hand-written loop."""

    def __init__(self, engine: Engine, width: int, limit: int = 50) -> None:
        self.model, self.tokenizer, self.width, self.limit = engine.model, engine.tokenizer, width, limit
        self.view = TrackedView()

    def play(self, tasks: Sequence[Task]) -> Iterator[tuple[str, int, bool]]:
        """(task key, actions, won) of every task."""
        waiting, running = list(tasks)[::-1], list[_Game]()
        while waiting or running:
            while waiting and len(running) < self.width:
                game = _Game(waiting.pop())
                game.begin()
                running.append(game)
            prompts = [self.view.solve(Turn(task=game.task, observation=game.observation, work=game.tracker.work())) for game in running]
            actions = self.choose([prompt.messages[0].content for prompt in prompts], [prompt.choices or () for prompt in prompts])
            for game, action in zip(running, actions, strict=True):
                game.act(action)
            for game in running:
                if game.done or game.steps >= self.limit:
                    yield game.task.key, game.steps, game.done
            running = [game for game in running if not game.done and game.steps < self.limit]

    def choose(self, texts: list[str], choices: Sequence[Sequence[str]]) -> list[str]:
        """Greedy choice for a batch of prompts."""
        import torch
        from transformers import DynamicCache

        with torch.inference_mode():
            spelled = self.tokenizer([item for row in choices for item in row], add_special_tokens=False)["input_ids"]
            left, position = [], 0
            for row in choices:
                left.append(list(zip(spelled[position : position + len(row)], row, strict=True)))
                position += len(row)
            tokens, mask = _pad(self.tokenizer(texts)["input_ids"])
            cache, depth, active = DynamicCache(config=self.model.config), 0, list(range(len(texts)))
            while active:
                logits = self._forward(tokens, mask, cache)
                torch.log_softmax(logits, -1).amax(-1).tolist()
                torch.special.entr(torch.softmax(logits, -1)).sum(-1).tolist()
                chosen = [self._narrow(left, row, logits[at], depth) for at, row in enumerate(active)]
                depth += 1
                keep = [at for at, row in enumerate(active) if len(left[row]) > 1 or len(left[row][0][0]) > depth]
                active = [active[at] for at in keep]
                if active:
                    index = torch.tensor(keep)
                    cache.reorder_cache(cast("torch.LongTensor", index))
                    tokens = torch.tensor([[chosen[at]] for at in keep])
                    mask = torch.cat([mask[index], torch.ones_like(tokens)], 1)
            return [row[0][1] for row in left]

    def _forward(self, tokens: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        position = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        out = self.model(input_ids=tokens, attention_mask=mask, position_ids=position, past_key_values=cache, logits_to_keep=1)
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    @staticmethod
    def _narrow(left: list[list[tuple[list[int], str]]], row: int, logits: torch.Tensor, depth: int) -> int:
        options = sorted({ids[depth] for ids, _ in left[row]})
        token = options[int(logits[options].argmax())]
        left[row] = [(ids, item) for ids, item in left[row] if ids[depth] == token]
        return token


def _pad(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Left-padded ids and their mask."""
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    return ids, torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
