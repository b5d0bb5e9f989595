"""Measure the engine against a hand-written batch loop over the same prompts. A script: `python tests/models/bench_engine.py [--steps 60]`.

A Llama of 0.37 M parameters with random weights decides among admissible actions of 2 to 6 tokens after prompts of about 40 tokens; 16
episodes are in flight. The hand-written loops know all 16 prompts of a round at once and pay for no event loop, no futures and no records:

* `bare` only picks actions, greedily, skipping forced tokens;
* `full` also reads the log-probability and entropy of every output token, as the engine does.

On a machine that others use, compare steps per CPU-second: the engine's two threads wait for a core at every hand-over.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from reflectory.models.engine import Engine
from reflectory.records import Message, Request

TYPES = ["cabinet", "drawer", "shelf", "fridge", "countertop", "sinkbasin", "microwave", "desk", "bed", "sofa"]
THINGS = ["mug", "plate", "apple", "bread", "knife", "book", "pillow", "watch", "soapbar", "potato"]
WORDS = """task put a clean in ; lesson hold nothing saw new near at act go to take from open close use move
heat cool with look""".split()  # noqa: SIM905  a vocabulary reads better as a line


def build() -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A household-sized Llama and a tokenizer in which every numbered thing is one token."""
    numbered = [f"{kind} {n}" for kind in TYPES for n in range(1, 13)] + [f"{kind} {n}" for kind in THINGS for n in range(1, 5)]
    vocab = {word: index for index, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS, *TYPES, *THINGS, *numbered])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    split = "(?:" + "|".join(TYPES + THINGS) + r") \d+|\S+"
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(split), behavior="removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=356, hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4,
        max_position_embeddings=512, tie_word_embeddings=True, initializer_range=0.1, eos_token_id=1, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval(), fast


def requests(count: int, seed: int) -> list[Request]:
    """Prompts of about 40 tokens with about 15 admissible actions."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        places = rng.sample([f"{kind} {n}" for kind in TYPES for n in range(1, 13)], 12)
        things = rng.sample([f"{kind} {n}" for kind in THINGS for n in range(1, 5)], 3)
        seen = " ".join(f"saw {thing} in {rng.choice(places)} ;" for thing in things)
        goal = f"task put a clean {rng.choice(THINGS)} in {rng.choice(TYPES)} ;"
        prompt = f"{goal} lesson {things[0]} in {places[0]} ; hold nothing ; {seen} new {' '.join(places[:10])} ; at {places[1]} ; act"
        actions = [f"go to {place}" for place in places] + [f"take {thing} from {places[1]}" for thing in things]
        actions += [f"open {places[1]}", f"clean {things[0]} with {places[2]}", f"move {things[0]} to {places[1]}", "look"]
        made.append(Request(messages=(Message(role="user", content=prompt),), choices=tuple(actions)))
    return made


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Left-padded token ids and their mask."""
    width = max(map(len, rows))
    tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    return tokens, torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])


@torch.inference_mode()
def by_hand(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, batch: list[Request], full: bool) -> list[str]:
    """One round of the hand-written loop: greedy, key/value cache, forced tokens skipped (bare) or read (full)."""
    prompts = tokenizer([request.messages[0].content for request in batch])["input_ids"]
    spelled = (tokenizer(list(request.choices), add_special_tokens=False)["input_ids"] for request in batch)
    left = [[(ids, index) for index, ids in enumerate(listed)] for listed in spelled]
    depth, active, closing = [0] * len(batch), list(range(len(batch))), set()
    tokens, mask = padded(prompts)
    cache, keep = DynamicCache(config=model.config), 1
    while active:
        position = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        logits = model(input_ids=tokens, attention_mask=mask, position_ids=position, past_key_values=cache, logits_to_keep=keep).logits
        if full:
            logp = torch.log_softmax(logits, -1)
            logp.amax(-1).tolist(), torch.special.entr(logp.exp()).sum(-1).tolist()
        feeds: dict[int, list[int]] = {}
        for at, row in enumerate(active):
            if row in closing:
                continue
            options = sorted({ids[depth[row]] for ids, _ in left[row]})
            token = options[int(logits[at, -1, options].argmax())]
            feed = []
            while True:  # the chosen token, and what is forced behind it
                feed.append(token)
                left[row] = [(ids, index) for ids, index in left[row] if ids[depth[row]] == token]
                depth[row] += 1
                after = {ids[depth[row]] if depth[row] < len(ids) else -1 for ids, _ in left[row]}
                if len(after) > 1 or after == {-1}:
                    break
                token = after.pop()
            if after != {-1}:
                feeds[at] = feed
            elif full and len(feed) > 1:
                feeds[at] = feed[:-1]
                closing.add(row)
        if not feeds:
            break
        index = torch.tensor(list(feeds))
        cache.reorder_cache(index)
        active = [active[at] for at in feeds]
        tokens, fresh = padded(list(feeds.values()))
        mask = torch.cat([mask[index], fresh], 1)
        keep = tokens.shape[1] if full else 1
    return [request.choices[left[row][0][1]] for row, request in enumerate(batch)]


def spin(microseconds: float) -> None:
    """The world's share of a step: plain Python work on the caller's thread."""
    end = time.perf_counter() + microseconds * 1e-6
    while time.perf_counter() < end:
        pass


def hand_rate(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, episodes: list[list[Request]], world: float, full: bool
) -> float:
    """Steps per second of the hand-written loop."""
    start = time.perf_counter()
    for turn in zip(*episodes, strict=True):
        by_hand(model, tokenizer, list(turn), full)
        for _ in turn:
            spin(world)
    return sum(map(len, episodes)) / (time.perf_counter() - start)


async def engine_rate(engine: Engine, episodes: list[list[Request]], world: float, hops: int) -> float:
    """Steps per second of the engine with one coroutine per episode; `hops` rounds of the event loop pass between answer and next call."""

    async def episode(steps: list[Request]) -> None:
        for request in steps:
            await engine.generate(request)
            spin(world)
            for _ in range(hops):
                await asyncio.sleep(0)

    start = time.perf_counter()
    await asyncio.gather(*(episode(steps) for steps in episodes))
    return sum(map(len, episodes)) / (time.perf_counter() - start)


def main() -> None:
    """Print steps per second and ratios, the median of several rounds taken in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=16)
    arguments = parser.parse_args()
    model, tokenizer = build()
    engine = Engine(model, tokenizer, "bench")
    episodes = [requests(arguments.steps, seed) for seed in range(arguments.episodes)]
    print(f"{torch.get_num_threads()} thread(s), {sum(p.numel() for p in model.parameters())} parameters, {arguments.episodes} episodes")
    first = [steps[0] for steps in episodes]
    assert by_hand(model, tokenizer, first, full=True) == by_hand(model, tokenizer, first, full=False)

    async def same() -> list[str]:
        return [reply.text for reply in await asyncio.gather(*(engine.generate(request) for request in first))]

    assert asyncio.run(same()) == by_hand(model, tokenizer, first, full=True)
    for world, hops in ((0.0, 0), (300.0, 0), (300.0, 3)):
        ways: dict[str, Callable[[], float]] = {
            "bare": partial(hand_rate, model, tokenizer, episodes, world, full=False),
            "full": partial(hand_rate, model, tokenizer, episodes, world, full=True),
            "engine": lambda world=world, hops=hops: asyncio.run(engine_rate(engine, episodes, world, hops)),
        }
        wall: dict[str, list[float]] = {name: [] for name in ways}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                before = time.process_time()
                wall[name].append(way())
                cpu[name].append(sum(map(len, episodes)) / (time.process_time() - before))
        print(f"world {world:.0f} us, {hops} hops")
        for clock, rates in (("second", wall), ("CPU-second", cpu)):
            middle = {name: statistics.median(values) for name, values in rates.items()}
            shown = ", ".join(f"{name} {value:.0f}" for name, value in middle.items())
            ratio = middle["engine"] / middle["full"], middle["engine"] / middle["bare"]
            print(f"  steps per {clock}: {shown}; engine/full {ratio[0]:.2f}, engine/bare {ratio[1]:.2f}")


if __name__ == "__main__":
    main()
