"""The reference engine (TextWorld with ALFWorld's naming), timed or recorded. A program of its own: its process is spoilt after."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

#: What a recording mixes in besides offered commands.
ODD = ("go to mars 1", "put x in/on y", "open", "take nothing 3 from fridge 1", " look ", "LOOK")


def _open(path: str) -> Any:
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld.envs import PddlEnv

    env = AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True)), shuffle=False)
    env.load(path)
    return env


def measure(paths: list[str], *, seed: int, steps: int) -> float:
    """Steps per second: uniform random actions, full admissible list after each, resets not counted."""
    rng, spent, count = random.Random(seed), 0.0, 0
    for path in paths:
        env = _open(path)
        state = env.reset()
        began = time.perf_counter()
        for _ in range(steps):
            offered = state.admissible_commands
            state, _, _ = env.step(offered[int(rng.random() * len(offered))])
        spent += time.perf_counter() - began
        count += steps
    return count / spent


def record(path: str, *, seed: int, steps: int) -> dict[str, Any]:
    """One transcript: the walkthrough mixed with random, useless and impossible commands; the game's content rides along."""
    rng, data = random.Random(seed), json.loads(Path(path).read_text(encoding="utf-8"))
    env = _open(path)
    state = env.reset()
    left = list(data.get("walkthrough") or ())
    rows: list[dict[str, Any]] = [{"text": state.feedback, "admissible": list(state.admissible_commands)}]
    for _ in range(steps):
        offered, draw = state.admissible_commands, rng.random()
        if draw < 0.08:
            command = rng.choice(ODD)
        elif draw < 0.4 and left and left[0] in offered:
            command = left.pop(0)
        else:
            weights = [0.4 if item.startswith("go") else 4.0 if item not in ("help", "inventory", "look") else 0.5 for item in offered]
            command = rng.choices(offered, weights)[0]
        state, reward, done = env.step(command)
        row = {"cmd": command, "text": state.feedback, "admissible": list(state.admissible_commands)}
        rows.append({**row, "reward": int(reward), "done": bool(done)})
    return {"game": Path(path).parent.name, "data": data, "steps": rows}


def main(arguments: list[str]) -> None:
    """`SEED STEPS GAME…` times, `record OUT SEED STEPS GAME…` writes transcripts."""
    if arguments[0] == "record":
        out, seed, steps, *paths = arguments[1:]
        with Path(out).open("w", encoding="utf-8") as stream:
            for number, path in enumerate(paths):
                stream.write(json.dumps(record(path, seed=int(seed) + number, steps=int(steps))) + "\n")
        return
    seed, steps, *paths = arguments
    print(json.dumps({"steps_per_s": measure(paths, seed=int(seed), steps=int(steps))}))


if __name__ == "__main__":
    main(list(sys.argv[1:]))
