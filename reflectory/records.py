"""The words as types: what is passed between parts, written to disk, and read back. Plain data, no behaviour."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

OriginKind = Literal["user", "own_reasoning", "world", "content", "peer_agent", "import"]
UNTRUSTED: frozenset[OriginKind] = frozenset({"content", "peer_agent", "import"})
RecordKind = Literal["fact", "episode", "lesson", "guideline", "skill"]
RecordStatus = Literal["candidate", "active", "quarantined", "superseded", "revoked"]
VerdictSource = Literal["env", "tool", "test", "user", "oracle", "model"]
Scope = Literal["task", "house", "all", "none"]


class Frozen(BaseModel):
    """A value: compared by content, never changed, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(Frozen):
    """Upper limits of one attempt; None means unlimited."""

    steps: int | None = None
    calls: int | None = None
    tokens: int | None = None
    reflections: int | None = None
    seconds: float | None = None


class Task(Frozen):
    """What to do. A plain string is a goal; `env` and `check` are registry names or dotted paths."""

    goal: str
    env: str | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    check: str | None = None
    limits: Budget | None = None
    id: str = ""
    seed: int = 0

    @property
    def key(self) -> str:
        """The task's identity in memory: its id, or a hash of what it says."""
        return self.id or hashlib.sha256(f"{self.env}|{self.goal}".encode()).hexdigest()[:16]

    @property
    def situation(self) -> str:
        """The world instance (house, site, repository) the task plays in; empty when there is none."""
        return str(self.inputs.get("situation", ""))


class Span(Frozen):
    """A piece of observed text with the kind of its origin."""

    text: str
    origin: OriginKind = "world"


class Observation(Frozen):
    """What an environment shows. `Observation("text")` is one span of world text.

    Attributes:
        spans: The text, piece by piece, each with its origin.
        choices: The admissible actions, where the world knows them.
        elements: Structured parts of a page or window.
        image: Hash of an image in the run directory.
        url: Where a browser stands.
    """

    spans: tuple[Span, ...]
    choices: tuple[str, ...] | None = None
    elements: tuple[dict[str, Any], ...] | None = None
    image: str | None = None
    url: str | None = None

    def __init__(self, text: str | None = None, **data: Any) -> None:
        if text is not None:
            data["spans"] = (Span(text=text),)
        super().__init__(**data)

    @property
    def text(self) -> str:
        """All spans as one string."""
        return "".join(span.text for span in self.spans)

    def digest(self) -> str:
        """A hash of text and choices, to tell after a replay that the world is where it was."""
        return hashlib.sha256(repr((self.text, self.choices)).encode()).hexdigest()


class Effect(Frozen):
    """What an action did, told without a model. `changed` is None where the world cannot tell."""

    changed: bool | None = None
    detail: str = ""


class StepResult(Frozen):
    """Answer of `Env.step`. Infrastructure failure is truncation with `effect.detail`, never reward 0."""

    observation: Observation
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    effect: Effect = Effect()


class Usage(Frozen):
    """Cost of model calls. `seconds` is wall time of the calls, queueing included."""

    calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            seconds=self.seconds + other.seconds,
        )

    @property
    def tokens(self) -> int:
        """Prompt and output tokens together."""
        return self.prompt_tokens + self.output_tokens


class Verdict(Frozen):
    """What is thought of an attempt or a step. A `model` verdict alone never marks anything verified."""

    id: str
    by: str
    source: VerdictSource
    ok: bool | None = None
    score: float | None = None
    reason: str = ""
    evidence: tuple[str, ...] = ()


class Message(Frozen):
    """One chat message of a prompt."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class Request(Frozen):
    """What a role asks of a model.

    Attributes:
        messages: The prompt.
        choices: If given, the answer is exactly one of these strings.
        lines: If given (without choices), the answer is some of these strings in any order, each at most once; a model that cannot be held
            to that answers freely.
        max_tokens: Upper limit of generated tokens.
        temperature: 0 is greedy.
        seed: Seeds this request's own random generator, so its answer does not depend on batch mates.
        stop: Strings that end the answer (not part of it).
        work: The tracker's typed state, for scripted policies; language models do not see it.
        role: Who asks, for usage accounts and adapters.
    """

    messages: tuple[Message, ...]
    choices: tuple[str, ...] | None = None
    lines: tuple[str, ...] | None = None
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    work: dict[str, Any] | None = None
    role: str = "solver"


class Reply(Frozen):
    """What a model answers.

    Attributes:
        text: The answer, without stop strings.
        prompt_ids: Token ids the model read; None where the model cannot tell.
        output_ids: Token ids it wrote.
        logprobs: Natural log-probability of each output token under the model's own distribution (not the constrained one).
        entropy: Entropy in nats of the distribution each output token was drawn from, before constraints.
        finish: Why it stopped.
        usage: Cost.
        choice_logprobs: Per choice of the request, log-probability under the constrained distribution, where computed.
    """

    text: str
    prompt_ids: tuple[int, ...] | None = None
    output_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    entropy: tuple[float, ...] | None = None
    finish: Literal["stop", "length", "choice"] = "stop"
    usage: Usage = Usage(calls=1)
    choice_logprobs: tuple[float, ...] | None = None


class Step(Frozen):
    """One call of a role with what came of it: the currency of memory, metrics, report and training.

    The id is (run, attempt, lane, n): a repeated node overwrites, never doubles.
    """

    run: str
    attempt: int
    lane: str = "main"
    n: int
    role: str
    prompt: tuple[Message, ...] = ()
    prompt_ids: tuple[int, ...] | None = None
    output: str = ""
    output_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    entropy: tuple[float, ...] | None = None
    action: str | None = None
    observation: Observation | None = None
    reward: float | None = None
    effect: Effect | None = None
    verdict: Verdict | None = None
    usage: Usage = Usage()
    policy: str = ""
    shown: tuple[str, ...] = ()
    cited: tuple[str, ...] = ()

    @property
    def id(self) -> tuple[str, int, str, int]:
        """(run, attempt, lane, n)."""
        return self.run, self.attempt, self.lane, self.n


class Trajectory(Frozen):
    """An attempt: the task, its steps and the outcome (solved, failed, gave_up, limit:NAME, infra:NAME)."""

    task: Task
    attempt: int
    steps: tuple[Step, ...] = ()
    outcome: str | None = None
    reward: float = 0.0
    usage: Usage = Usage()


class Origin(Frozen):
    """Where a record comes from. `source` is the root of its lineage: an episode, a document's host, a user."""

    kind: OriginKind
    source: str


class Record(Frozen):
    """One thing remembered.

    Attributes:
        id: Stable id; a new revision keeps it.
        namespace: Path of the memory it lives in, for example ("household",).
        body: The text itself.
        when_to_use: Words of the situations it helps in; searched together with the body.
        task_key: The task it was learned in; "" for any.
        situation_key: The world instance it was learned in; "" for any.
        steps: Ids of the steps it rests on, as "run/attempt/lane/n".
        trust: 0..1, the minimum over the lineage.
        parents: Records it was made from.
        seq: Journal position of the last event that touched it.
    """

    id: str
    revision: int = 1
    namespace: tuple[str, ...]
    kind: RecordKind
    body: str
    when_to_use: str = ""
    task_key: str = ""
    situation_key: str = ""
    steps: tuple[str, ...] = ()
    origin: Origin
    trust: float = Field(default=1.0, ge=0.0, le=1.0)
    status: RecordStatus = "active"
    parents: tuple[str, ...] = ()
    shown: int = 0
    cited: int = 0
    helped: int = 0
    harmed: int = 0
    valid_from: float | None = None
    valid_to: float | None = None
    seq: int = 0


class Hit(Frozen):
    """A recalled record with its score and the parts of the score by retriever name."""

    record: Record
    score: float
    parts: dict[str, float] = Field(default_factory=dict)


class Query(Frozen):
    """What a role asks of a memory.

    Attributes:
        text: Words to look for.
        namespace: Only records at or below this path.
        scope: `task`: same task; `house`: same situation; `all`: everything in the namespace; `none`: nothing.
        as_of: Journal position to read at; None reads the newest.
        k: At most so many hits.
        kinds: Only these kinds; empty means any.
    """

    text: str
    namespace: tuple[str, ...] = ()
    scope: Scope = "all"
    task_key: str = ""
    situation_key: str = ""
    as_of: int | None = None
    k: int = 8
    kinds: tuple[RecordKind, ...] = ()
