"""A small supervised trainer: answer tokens carry the loss, ranks share gradients, checkpoints make it resumable. CPU or GPU."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reflectory.learning.household_data import Sample

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Sizes in tokens count padding out.

    Attributes:
        tokens: Tokens to see in all, over all ranks.
        batch_tokens: Padded tokens of one rank's batch.
        lr: Peak of the cosine schedule, after `warmup` steps.
        ranks: Single-threaded processes that share the work (CPU only; a GPU uses one).
        save_seconds: A checkpoint at least this often.
    """

    tokens: int = 16_000_000
    batch_tokens: int = 2048
    lr: float = 3e-3
    weight_decay: float = 0.05
    warmup: int = 50
    floor: float = 0.02
    ranks: int = 2
    seed: int = 0
    save_seconds: float = 60.0


def encode(samples: Sequence[Sample], tokenizer: PreTrainedTokenizerFast, out: Path, *, longest: int = 512) -> dict[str, int]:
    """Tokenise samples into one flat array file.

    Args:
        samples: Pairs and attempts; doubles are kept, they are the weights.
        tokenizer: Adds <bos> to texts itself; <eos> ends every sample.
        out: The `.npz` to write: `ids` (int32, flat), `answer` (bool, flat: does this token carry the loss), `start` (n + 1).
        longest: Samples of more tokens are left out.

    Returns:
        Counts by kind, and `tokens`.
    """
    ids, answer, start = list[NDArray[np.int32]](), list[NDArray[np.bool_]](), [0]
    for begin in range(0, len(samples), 20_000):  # the words of a part at a time: Python lists of all of them would take gigabytes
        part = samples[begin : begin + 20_000]
        spans = [span for sample in part for span in (sample.prompt, sample.answer, *sample.rest)]
        words = iter(tokenizer(spans, add_special_tokens=False)["input_ids"])
        for sample in part:
            pieces = [next(words) for _ in range(2 + len(sample.rest))]
            row = [tokenizer.bos_token_id, *(token for piece in pieces for token in piece), tokenizer.eos_token_id]
            if len(row) > longest:
                continue
            marks = [False, *(index % 2 == 1 for index, piece in enumerate(pieces) for _ in piece), len(pieces) % 2 == 0]
            ids.append(np.array(row, dtype=np.int32))
            answer.append(np.array(marks, dtype=np.bool_))
            start.append(start[-1] + len(row))
    np.savez(out, ids=np.concatenate(ids), answer=np.concatenate(answer), start=np.array(start, dtype=np.int64))
    counts = Counter(sample.kind for sample in samples)
    return {**dict(sorted(counts.items())), "tokens": start[-1]}


class Batches:
    """Endless batches of similar length, the same for the same seed, split over ranks."""

    def __init__(self, path: Path, config: TrainConfig, rank: int, ranks: int) -> None:
        data = np.load(path, allow_pickle=False)
        self.ids, self.start, self.answer = data["ids"], data["start"], data["answer"]
        self.config, self.rank, self.ranks = config, rank, ranks

    def epoch(self, number: int) -> Iterator[Ints]:
        """Index arrays of one pass; every rank gets the same number of them."""
        rng = np.random.default_rng([self.config.seed, number])
        order = rng.permutation(len(self.start) - 1)
        lengths = np.diff(self.start)
        batches: list[Ints] = []
        for window in range(0, len(order), 8192):
            part = order[window : window + 8192]
            part = part[np.argsort(lengths[part], kind="stable")]
            begin = 0
            while begin < len(part):
                size = 1
                while begin + size < len(part) and lengths[part[begin + size]] * (size + 1) <= self.config.batch_tokens:
                    size += 1
                batches.append(part[begin : begin + size])
                begin += size
        groups = [batches[index : index + self.ranks] for index in range(0, len(batches) - self.ranks + 1, self.ranks)]
        for index in rng.permutation(len(groups)):
            yield groups[int(index)][self.rank]

    def tensors(self, batch: Ints, device: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids, is_answer), both (rows, longest); padding on the right, id 0."""
        import torch

        width = int(max(self.start[index + 1] - self.start[index] for index in batch))
        ids = np.zeros((len(batch), width), dtype=np.int64)
        mask = np.zeros((len(batch), width), dtype=bool)
        for row, index in enumerate(batch):
            tokens = self.ids[self.start[index] : self.start[index + 1]]
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = self.answer[self.start[index] : self.start[index + 1]]
        return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def new_model(
    vocabulary: int, *, width: int = 128, layers: int = 3, inner: int = 288, context: int = 512, seed: int = 0
) -> LlamaForCausalLM:
    """A fresh Llama with four heads and tied embeddings; 0.8 M parameters as it stands."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = 4
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def train(start: Path, data: Path, out: Path, config: TrainConfig) -> None:
    """Train the checkpoint in `start` on `data`, writing to `out`; run it again after a kill and it goes on.

    Args:
        start: A folder with a transformers checkpoint.
        data: What `encode` wrote.
        out: Gets `model.safetensors`, `config.json` and, while unfinished, `resume/`.
        config: See TrainConfig.
    """
    import torch
    from torch.multiprocessing.spawn import spawn

    out.mkdir(parents=True, exist_ok=True)
    if (out / "done.json").exists():
        return
    if torch.cuda.is_available() or config.ranks == 1:
        _run(0, 1, start, data, out, config)
        return
    (out / "rendezvous").unlink(missing_ok=True)
    spawn(_run, args=(config.ranks, start, data, out, config), nprocs=config.ranks)  # type: ignore[no-untyped-call]


def _run(rank: int, ranks: int, start: Path, data: Path, out: Path, config: TrainConfig) -> None:
    """One rank."""
    import torch
    from transformers import LlamaForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks > 1:
        torch.set_num_threads(1)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        torch.distributed.init_process_group("gloo", init_method=f"file://{out / 'rendezvous'}", rank=rank, world_size=ranks)
    resume = out / "resume"
    if not resume.exists() and (out / "resume.new" / "state.json").exists():  # killed between the two steps of a save
        (out / "resume.new").rename(resume)
    state: dict[str, Any] = {"step": 0, "epoch": 0, "batch": 0, "tokens": 0, "seconds": 0.0}
    going_on = (resume / "state.json").exists()
    if going_on:
        state = json.loads((resume / "state.json").read_text())
    model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(resume if going_on else start, dtype=torch.float32)
    torch.nn.Module.to(model, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    if going_on:
        _load_optimizer(optimizer, resume)
    _loop(model, optimizer, Batches(data, config, rank, ranks), state, out)
    if rank == 0 and state["tokens"] >= config.tokens:
        model.save_pretrained(out)
        (out / "done.json").write_text(json.dumps({**state, "config": asdict(config)}))
    if ranks > 1:
        torch.distributed.destroy_process_group()


def _loop(model: LlamaForCausalLM, optimizer: torch.optim.AdamW, batches: Batches, state: dict[str, Any], out: Path) -> None:
    config, device = batches.config, str(model.device)
    began, saved, shown, losses = time.monotonic() - state["seconds"], time.monotonic(), time.monotonic(), list[float]()
    model.train()
    while state["tokens"] < config.tokens:
        for number, batch in enumerate(batches.epoch(state["epoch"])):
            if number < state["batch"]:
                continue
            rate = _rate(state["step"], state["tokens"] / config.tokens, config)
            for group in optimizer.param_groups:
                group["lr"] = rate
            ids, mask = batches.tensors(batch, device)
            loss, count = _step(model, optimizer, ids, mask, batches.ranks)
            losses.append(loss)
            state.update(step=state["step"] + 1, batch=number + 1, tokens=state["tokens"] + count)
            now = time.monotonic()
            if not _parent_lives():
                return  # a rank whose parent was killed must not go on writing beside the next run
            if now - shown > 15 and batches.rank == 0:
                state["seconds"] = now - began
                mean, shown = sum(losses) / len(losses), now
                losses.clear()
                print(
                    f"step {state['step']} tokens {state['tokens'] / 1e6:.2f}M loss {mean:.4f} lr {rate:.1e} {state['seconds']:.0f}s",
                    file=sys.stderr,
                )
            if now - saved > config.save_seconds and batches.rank == 0:
                saved = now
                _save(model, optimizer, state, out / "resume")
            if state["tokens"] >= config.tokens:
                break
        else:
            state.update(epoch=state["epoch"] + 1, batch=0)


def _parent_lives() -> bool:
    parent = multiprocessing.parent_process()
    return parent is None or parent.is_alive()


def _step(model: LlamaForCausalLM, optimizer: torch.optim.AdamW, ids: torch.Tensor, mask: torch.Tensor, ranks: int) -> tuple[float, int]:
    """One update; returns (loss, tokens seen by all ranks)."""
    import torch

    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    targets = mask[:, 1:]
    logits = model.lm_head(hidden[:, :-1][targets])
    loss = torch.nn.functional.cross_entropy(logits, ids[:, 1:][targets])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    count = torch.tensor([float((ids != 0).sum()), float(loss.detach())])
    if ranks > 1:
        grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        flat = torch.cat([grad.reshape(-1) for grad in grads] + [count])
        torch.distributed.all_reduce(flat)
        count = flat[-2:] / torch.tensor([1.0, float(ranks)])
        position = 0
        for grad in grads:
            grad.copy_(flat[position : position + grad.numel()].view_as(grad) / ranks)
            position += grad.numel()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(count[1]), int(count[0])


def _rate(step: int, share: float, config: TrainConfig) -> float:
    warm = min(1.0, (step + 1) / config.warmup)
    return config.lr * warm * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def _save(model: LlamaForCausalLM, optimizer: torch.optim.AdamW, state: dict[str, Any], folder: Path) -> None:
    """Write beside, then rename: a kill leaves the last whole checkpoint."""
    import shutil

    from safetensors.torch import save_file

    fresh = folder.with_name("resume.new")
    shutil.rmtree(fresh, ignore_errors=True)
    model.save_pretrained(fresh)
    tensors = {
        f"{index}.{name}": value.contiguous()
        for index, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
        if name != "step"
    }
    save_file(tensors, fresh / "optimizer.safetensors")
    (fresh / "state.json").write_text(json.dumps(state))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _load_optimizer(optimizer: torch.optim.AdamW, folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    step = float(json.loads((folder / "state.json").read_text())["step"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {"step": torch.tensor(step)})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
