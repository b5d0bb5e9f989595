"""How well memory finds the turns that answer a question, and what learning from citations adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reflectory.errors import ConfigError
from reflectory.protocols import Embedder
from reflectory.retrieval.adapter import AdapterConfig
from reflectory.retrieval.cached import CachedEmbedder
from reflectory.retrieval.minilm import MiniLMEmbedder
from reflectory.runs.bench.locomo import LabelledConversation, load_conversations
from reflectory.runs.bench.retrieval_arms import BASELINES, Prepared, adapter_recall, learned_recall, prepare, prequential
from reflectory.runs.metrics import mean, paired_bootstrap

#: Told what is being done.
Say = Callable[[str], None]
#: recall@5 by arm: one value per question, of the whole test set in order.
Recalls = dict[str, list[float]]


def cached_minilm(folder: Path | None = None) -> CachedEmbedder:
    """MiniLM on one thread of the CPU, its vectors kept on disk: embedding some thousand turns takes minutes, once.

    Args:
        folder: Where the vectors are kept; None is the user's cache folder.

    Raises:
        MissingDependency: The packages are not installed.
    """
    return CachedEmbedder(_OneThread(), folder)


class _OneThread(MiniLMEmbedder):
    """Several torch threads on a busy machine are slower than one."""

    def __init__(self) -> None:
        super().__init__(device="cpu")

    def embed(self, texts: Sequence[str]) -> Any:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return super().embed(texts)
        finally:
            torch.set_num_threads(before)


def bench_retrieval(
    train: Sequence[Path],
    test: Sequence[Path],
    *,
    noise: float = 0.0,
    seeds: int = 3,
    embedder: Embedder | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Share of answering turns among the five best, by ranker.

    `learned` and the adapters see the training conversations once, and of each question only which of the five turns they showed were
    cited; then they are frozen and the test conversations are ranked. `prequential` begins without anything learned and goes through the
    test conversations one after another: every question is scored first, then its citations are learned from.

    Args:
        train: LoCoMo-format files or folders to learn from.
        test: The same, to be measured on.
        noise: Share of wrong citations: each shown turn's citation is flipped with this chance.
        seeds: Repetitions, with other orders of the training questions and other noise; figures are means over them.
        embedder: Makes the cosines; None is `cached_minilm()`.
        say: Told about progress.

    Returns:
        queries, recall_at_5 (cosine, bm25, reference_prior, prior, rmm_adapter, learned), paired_ci (95 % bootstrap interval over questions
        of learned - prior), prequential (prior, learned), ms_per_query (candidates, features and scores; embedding excluded). Beside them
        reference_ci (learned - reference_prior), rmm_adapter_sane (in recall_at_5: the adapter with settings that learn), by_conversation,
        learned_by_seed, rollbacks, noise, seeds.

    Raises:
        ConfigError: `noise` outside 0..1, `seeds` below 1, or a conversation in both sets.
        MissingDependency: Conversations or the MiniLM packages are not there.
        ParseError: A file is no conversation.
    """
    _check(noise, seeds)
    known, asked = load_conversations(train), load_conversations(test)
    both = [item.name for item in asked if item.documents in {other.documents for other in known}]
    if both:
        msg = f"{', '.join(both)} would be learned from and measured on. Leave it out of one of the two; `--folds` cross-validates."
        raise ConfigError(msg)
    report = say or _silent
    ready = _embedded([*known, *asked], embedder, report)
    learnt, tested = ready[: len(known)], ready[len(known) :]
    recalls, rollbacks = _arms(learnt, tested, noise, seeds, report)
    report("prequential")
    return _result(tested, recalls, _streamed(tested, noise, seeds)) | _settings(recalls, rollbacks, noise, seeds)


def _embedded(conversations: Sequence[LabelledConversation], embedder: Embedder | None, report: Say) -> list[Prepared]:
    chosen = embedder or cached_minilm()
    report(f"embedding {sum(len(item.documents) for item in conversations)} turns (kept for the next time)")
    return [prepare(item, chosen) for item in conversations]


def _streamed(tested: Sequence[Prepared], noise: float, seeds: int) -> list[float]:
    """Cold start, per question, the mean over seeds."""
    streams = [prequential(tested, noise, seed) for seed in range(seeds)]
    return [mean(values) for values in zip(*streams, strict=True)]


def _settings(recalls: Mapping[str, list[Any]], rollbacks: float, noise: float, seeds: int) -> dict[str, Any]:
    by_seed = [mean(values) for values in recalls["by_seed"]]
    return {"learned_by_seed": by_seed, "rollbacks": rollbacks, "noise": noise, "seeds": seeds}


def cross_validate(
    files: Sequence[Path],
    *,
    folds: int | None = None,
    noise: float = 0.0,
    seeds: int = 3,
    embedder: Embedder | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """`bench_retrieval` over folds of conversations: each is measured once, by rankers that learned from those of the other folds.

    Args:
        files: LoCoMo-format files or folders.
        folds: How many; None is one per conversation.
        noise: See `bench_retrieval`.
        seeds: See `bench_retrieval`.
        embedder: See `bench_retrieval`.
        say: Told about progress.

    Returns:
        As `bench_retrieval`; intervals over the questions of all folds; `prequential` goes through all conversations in order.
        `conversations_ci` is the interval of learned - prior with conversations drawn instead of questions.

    Raises:
        ConfigError: Fewer than 2 folds, or more than conversations; see also `bench_retrieval`.
        MissingDependency: See `bench_retrieval`.
        ParseError: See `bench_retrieval`.
    """
    _check(noise, seeds)
    conversations = load_conversations(files)
    count = len(conversations) if folds is None else folds
    if not 2 <= count <= len(conversations):
        msg = f"{count} folds of {len(conversations)} conversations: use 2 to {len(conversations)} folds."
        raise ConfigError(msg)
    report = say or _silent
    ready = _embedded(conversations, embedder, report)
    whole: dict[str, list[Any]] = {}
    rollbacks = 0.0
    for fold in range(count):
        report(f"fold {fold + 1} of {count}")
        rest = [item for place, item in enumerate(ready) if place % count != fold]
        recalls, rolled = _arms(rest, ready[fold::count], noise, seeds, _silent)
        rollbacks += rolled / count
        _extend(whole, recalls)
    tested = [item for fold in range(count) for item in ready[fold::count]]
    result = _result(tested, whole, _streamed(ready, noise, seeds), ready)
    gains = [(item["prior"], item["learned"]) for item in result["by_conversation"].values()]
    result["conversations_ci"] = list(paired_bootstrap([a for a, _ in gains], [b for _, b in gains], seed=0)[1:])
    return result | _settings(whole, rollbacks, noise, seeds) | {"folds": count}


def _extend(whole: dict[str, list[Any]], recalls: Mapping[str, list[Any]]) -> None:
    """Add a fold's recalls to those of the folds before."""
    for arm, values in recalls.items():
        if arm == "by_seed":
            for mine, theirs in zip(whole.setdefault(arm, [[] for _ in values]), values, strict=True):
                mine.extend(theirs)
        else:
            whole.setdefault(arm, []).extend(values)


def _arms(learnt: Sequence[Prepared], tested: Sequence[Prepared], noise: float, seeds: int, say: Say) -> tuple[dict[str, list[Any]], float]:
    """Recalls by arm; `by_seed` has those of `learned`, one list per seed. And rollbacks per seed."""
    recalls: dict[str, list[Any]] = {arm: [value for item in tested for value in item.recalls[arm]] for arm in BASELINES}
    by_seed: dict[str, list[list[float]]] = {"learned": [], "rmm_adapter": [], "rmm_adapter_sane": []}
    rolled = 0
    for seed in range(seeds):
        say(f"learning, seed {seed + 1} of {seeds}")
        values, rollbacks = learned_recall(learnt, tested, noise, seed)
        rolled += rollbacks
        by_seed["learned"].append(values)
        for arm, config in (("rmm_adapter", AdapterConfig(seed=seed)), ("rmm_adapter_sane", AdapterConfig.sane(seed))):
            by_seed[arm].append(adapter_recall(learnt, tested, config, noise))
    for arm, lists in by_seed.items():
        recalls[arm] = [mean(values) for values in zip(*lists, strict=True)]
    return recalls | {"by_seed": by_seed["learned"]}, rolled / seeds


def _result(
    tested: Sequence[Prepared], recalls: dict[str, list[Any]], streamed: Sequence[float], stream: Sequence[Prepared] | None = None
) -> dict[str, Any]:
    arms = {arm: values for arm, values in recalls.items() if arm != "by_seed"}
    by_conversation, at = {}, 0
    for item in tested:
        by_conversation[item.name] = {arm: mean(values[at : at + len(item.gold)]) for arm, values in arms.items()}
        at += len(item.gold)
    at = 0
    for item in stream or tested:
        by_conversation[item.name]["prequential"] = mean(streamed[at : at + len(item.gold)])
        at += len(item.gold)
    return {
        "queries": at,
        "recall_at_5": {arm: mean(values) for arm, values in arms.items()},
        "paired_ci": list(paired_bootstrap(arms["prior"], arms["learned"], seed=0)[1:]),
        "prequential": {"prior": mean(arms["prior"]), "learned": mean(streamed), "reference_prior": mean(arms["reference_prior"])},
        "ms_per_query": 1000.0 * sum(item.seconds for item in tested) / max(at, 1),
        "reference_ci": list(paired_bootstrap(arms["reference_prior"], arms["learned"], seed=0)[1:]),
        "by_conversation": by_conversation,
    }


def _check(noise: float, seeds: int) -> None:
    if not 0.0 <= noise <= 1.0 or not math.isfinite(noise) or seeds < 1:
        msg = f"noise={noise}, seeds={seeds}: noise is a share from 0 to 1, seeds at least 1."
        raise ConfigError(msg)


def _silent(_: str) -> None:
    """Nobody is told."""
