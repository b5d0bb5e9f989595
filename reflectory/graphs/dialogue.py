"""A dialogue with long-term memory: recall, answer with citations, learn from them; leaving writes what the session taught.

Method: RMM (arXiv 2503.08026): prospective reflection at the end of a session, citations after every answer. One invocation of the graph is
one turn, or, with `leaving`, the end of the session. A turn reads everything durable before it; what was said in the running session stands
in `messages` and reaches memory when the session ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal
from urllib.parse import urlsplit

from langchain_core.messages import HumanMessage
from langgraph.runtime import Runtime

from reflectory.agents.answerer import Answerer, readable, utterance_text
from reflectory.agents.extractor import ModelExtractor, ModelMerger
from reflectory.agents.role import call_step, load_observation, request_seed
from reflectory.config import DialogueConfig, RunConfig
from reflectory.errors import LimitReached, ModelError
from reflectory.graphs.context import RunContext
from reflectory.graphs.nodes import counts
from reflectory.graphs.state import State
from reflectory.graphs.wiring import END, Choose, Wiring
from reflectory.memory.citations import without_citations
from reflectory.memory.extract import Conversation, Extractor, RuleExtractor, Utterance, candidates, fresh_sentences
from reflectory.memory.meaning import meaning
from reflectory.memory.merge import Merger, RuleMerger
from reflectory.memory.prospective import consolidate, in_thread
from reflectory.records import Hit, Message, Observation, Query, Record, Request, Span, Step

Update = dict[str, Any]
#: Learns from what was cited: (query, what was shown in order, ids of what was cited).
Learn = Callable[[Query, Sequence[Hit], Sequence[str]], object]


class DialogueState(State, total=False):
    """State of a dialogue.

    Attributes:
        at: When the session began, seconds since 1970.
        leaving: Whether the session ends now, instead of a message being answered.
        written: What became of the session's candidates, see `reflectory.memory.prospective.Written`.
    """

    at: float
    leaving: bool
    written: list[dict[str, Any]]


@dataclass(frozen=True)
class Dialogue(Wiring):
    """The wiring of a dialogue, with its settings."""

    settings: DialogueConfig = field(default_factory=DialogueConfig)
    schema: type = DialogueState


def dialogue(config: RunConfig, settings: DialogueConfig | None = None, learn: Learn | None = None) -> Dialogue:
    """The wiring: hear → recall → answer → cite → end; hear → extract → write → end when the session ends.

    Args:
        config: The run's settings; `solver.temperature` is the answerer's.
        settings: How it remembers; None takes `config.dialogue`.
        learn: Told after every answer what was shown and what was cited; None tells the memory's ranker, if it learns.
    """
    chosen = settings or config.dialogue
    memory = DialogueMemory(chosen, learn)
    return Dialogue(
        name="dialogue",
        entry="hear",
        nodes={
            "hear": hear,
            "recall": memory.recall,
            "answer": Answerer(max_tokens=chosen.max_tokens),
            "cite": memory.cite,
            "extract": memory.extract,
            "write": memory.write,
        },
        edges={
            "hear": Choose(after_hear, ("recall", "extract")),
            "recall": "answer",
            "answer": "cite",
            "cite": END,
            "extract": "write",
            "write": END,
        },
        settings=chosen,
    )


async def hear(state: Mapping[str, Any], runtime: Runtime[RunContext]) -> Update:
    """Take in the user's message; it is on disk before it is answered."""
    context = runtime.context
    context.budget.start_attempt()
    if state["leaving"]:
        return {}
    observation, n = load_observation(state["observation"]), int(state["n"])
    context.recorder.put(_step(context, state, n, "user", observation))
    message = HumanMessage(utterance_text(observation), id=f"{context.run}/{state['attempt']}/{context.lane}/{n}")
    return {"messages": [message], "n": n + 1, "used": {"shown": [], "cited": []}, "answer": None}


def after_hear(state: Mapping[str, Any]) -> str:
    """To the end of the session when it is being left, else to an answer."""
    return "extract" if state["leaving"] else "recall"


class DialogueMemory:
    """The nodes of a dialogue that touch memory, on threads: it may wait for another process.

    Args:
        settings: How it remembers.
        learn: Learns from citations; None is the `learn` of the memory's ranker, where it has one.
    """

    def __init__(self, settings: DialogueConfig, learn: Learn | None = None) -> None:
        self.settings, self._learn = settings, learn

    def query(self, state: Mapping[str, Any], context: RunContext) -> Query:
        """What memory is asked: the user's own words; after a short message, with those of the message before."""
        said = [message.text for message in state["messages"] if message.type == "human"][-2:]
        observation = load_observation(state["observation"])
        own = "".join(span.text for span in observation.spans if span.origin == "user") or observation.text
        text = own if len(meaning(own).content) > 1 or len(said) < 2 else f"{said[0]}\n{own}"
        return Query(text=text, namespace=self.settings.namespace(_user(context)), k=self.settings.k)

    async def recall(self, state: Mapping[str, Any], runtime: Runtime[RunContext]) -> Update:
        """Ask memory what bears on the message. One of the two memory edges."""
        context = runtime.context
        if context.memory is None:
            return {"recalled": []}
        query = self.query(state, context)
        spaces = [query.namespace, *filter(None, [self.settings.shared])]
        found = [await in_thread(context.memory.recall, query.model_copy(update={"namespace": space})) for space in spaces]
        # Scores are scaled per recall and cannot be compared between two: the spaces take turns, the user's own first.
        hits = [hit for turn in zip_longest(*found) for hit in turn if hit is not None][: self.settings.k]
        if not hits:
            return {"recalled": []}
        spans = tuple(Span(text=f"{hit.record.body}\n", origin=hit.record.origin.kind) for hit in hits)
        context.recorder.put(_step(context, state, state["n"], "memory", Observation(spans=spans)))
        return {"recalled": [hit.model_dump(mode="json") for hit in hits], "n": state["n"] + 1}

    async def cite(self, state: Mapping[str, Any], runtime: Runtime[RunContext]) -> Update:
        """Count what was shown and used, and let the ranker learn from it."""
        context, used = runtime.context, state["used"]
        if context.memory is not None and used["shown"]:
            await in_thread(context.memory.cite, used["cited"], shown=used["shown"])
            learn = self._learn or getattr(getattr(context.memory, "ranker", None), "learn", None)
            if learn is not None:
                hits = [Hit.model_validate(item) for item in state["recalled"]]
                await in_thread(learn, self.query(state, context), hits, used["cited"])
        return {"spent": {context.lane: counts(context.budget.usage)}}

    async def extract(self, state: Mapping[str, Any], runtime: Runtime[RunContext]) -> Update:
        """Find what the session said that is worth remembering, from its Steps."""
        context = runtime.context
        if context.memory is None:
            return {"candidates": {context.lane: []}}
        asking = Asking(context, state)
        extractor: Extractor = RuleExtractor(self.settings.granularity)
        if self.settings.reflect == "model":
            extractor = ModelExtractor(asking, context.recorder.count, self.settings.granularity[0])
        conversation = conversation_of(state, context, self.settings)
        fresh = await in_thread(fresh_sentences, conversation)  # whoever sends a book keeps nobody else waiting
        found = candidates(conversation, await extractor.extract(conversation, fresh))
        return {"candidates": {context.lane: [record.model_dump(mode="json") for record in found]}, "n": asking.n}

    async def write(self, state: Mapping[str, Any], runtime: Runtime[RunContext]) -> Update:
        """Add or merge what was found. The other memory edge."""
        context = runtime.context
        asking = Asking(context, state)
        merger: Merger = ModelMerger(asking, context.recorder.count) if self.settings.reflect == "model" else RuleMerger()
        found = [Record.model_validate(item) for item in state["candidates"][context.lane]]
        written = []
        if context.memory is not None:
            written = await consolidate(context.memory, found, merger, k=self.settings.neighbours)
        for item in written:
            context.recorder.count(f"memory_{item.act}")
        told = [item.model_dump(mode="json") for item in written]
        return {"written": told, "n": asking.n, "spent": {context.lane: counts(context.budget.usage)}}


class Asking:
    """Asks the model of a role during reflection and records every call as a Step.

    Args:
        context: The live context.
        state: Its State; `n` is the number of the first Step.

    Attributes:
        n: Number of the next Step.
    """

    def __init__(self, context: RunContext, state: Mapping[str, Any]) -> None:
        self._context, self._attempt = context, int(state["attempt"])
        self.n = int(state["n"])

    async def __call__(self, role: Literal["extractor", "merger"], text: str) -> str:
        """The model's answer; "" when it cannot give one, because then the rules take over: no session is lost to a failing model."""
        context, decoding = self._context, self._context.config.reflector
        request = Request(
            messages=(Message(role="user", content=text),),
            max_tokens=decoding.max_tokens,
            temperature=decoding.temperature,
            seed=request_seed(context, self._attempt, self.n),
            role=role,
        )
        model = context.model(role)
        try:
            reply = await model.generate(request)
        except (ModelError, LimitReached):
            context.recorder.count("reflection_failed")
            return ""
        context.recorder.put(call_step(context, model.name, request, reply, (self._attempt, self.n)))
        self.n += 1
        return readable(reply.text)


def conversation_of(state: Mapping[str, Any], context: RunContext, settings: DialogueConfig) -> Conversation:
    """The session as its Steps tell it."""
    said: list[Utterance] = []
    recalled: tuple[Span, ...] = ()
    turn = -1
    for n in range(state["n"]):
        step = context.recorder.get(state["attempt"], context.lane, n)
        if step is None:
            continue
        name = "/".join(str(part) for part in step.id)
        if step.role == "user" and step.observation is not None:
            turn, recalled = turn + 1, ()
            host = _host(step.observation.url or "")
            said.append(Utterance(step=name, speaker="user", turn=turn, spans=step.observation.spans, host=host))
        elif step.role == "memory" and step.observation is not None:
            recalled = step.observation.spans
        elif step.role == "answerer":
            spans = (Span(text=without_citations(step.output), origin="own_reasoning"),)
            said.append(Utterance(step=name, speaker="agent", turn=turn, spans=spans, recalled=recalled))
    user = _user(context)
    return Conversation(id=context.run, user=user, at=state["at"], namespace=settings.namespace(user), utterances=tuple(said))


def _host(url: str) -> str:
    """Whose page it is; what is no address stands for itself."""
    try:
        # What a redactor put into it would read as the brackets of an address.
        return urlsplit(url.replace("[", "").replace("]", "")).hostname or url
    except ValueError:
        return url


def _user(context: RunContext) -> str:
    return str(context.task.inputs["user"])


def _step(context: RunContext, state: Mapping[str, Any], n: int, role: str, observation: Observation) -> Step:
    return Step(run=context.run, attempt=state["attempt"], lane=context.lane, n=n, role=role, observation=observation)


def opening(at: float) -> dict[str, Any]:
    """The State a session begins with."""
    return {"attempt": 1, "n": 0, "at": at, "leaving": False, "messages": [], "candidates": {}, "verdicts": [], "spent": {}, "recalled": []}
