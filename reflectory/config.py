"""Settings of a run: one validated object, read from YAML and dotted overrides; unknown keys are refused, never dropped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from reflectory.errors import ConfigError, did_you_mean
from reflectory.execution import Limits
from reflectory.records import Budget, Frozen, Scope

#: Pieces a session is cut into when memories are extracted from it.
Granularity = Literal["utterance", "turn", "session"]
#: Settings that change how fast a run goes or where it is kept, never what comes out of it: a resumed run may change them.
INCIDENTAL = frozenset({"concurrency", "workers", "out"})


class SolverConfig(Frozen):
    """How the solver decodes.

    Attributes:
        temperature: Of the first attempt; 0 is greedy.
        retry_temperature: Of every later attempt, so that a retry is not a repetition.
        max_tokens: Upper limit of one answer; None means what the view needs (a command takes 64, a program more).
    """

    temperature: float = Field(default=0.0, ge=0.0)
    retry_temperature: float = Field(default=0.5, ge=0.0)
    max_tokens: int | None = Field(default=None, ge=1)


class ReflectorConfig(Frozen):
    """How the reflector decodes. `temperature` 0 is greedy, `max_tokens` limits one answer."""

    temperature: float = Field(default=0.0, ge=0.0)
    max_tokens: int = Field(default=256, ge=1)


class RecallConfig(Frozen):
    """How memory is searched, where a run opens it by name.

    Attributes:
        k: At most so many records at the start of an attempt; a view shows of them what bears on the situation.
        embedder: Makes vectors (registry kind `embedder`, or a dotted path).
        ranker: `hybrid` is fixed, `learned` learns from citations and keeps what it learned in the journal; `auto` is learned in
            dialogues and hybrid elsewhere.
    """

    k: int = Field(default=64, ge=1)
    embedder: str = "hashing"
    ranker: Literal["auto", "hybrid", "learned"] = "auto"


class SandboxConfig(Frozen):
    """Where code that an agent writes runs.

    Attributes:
        tier: `auto` takes the strongest that works here; bubblewrap, landlock, container or none by name.
        allow_unsafe: Whether code may run without isolation where nothing else works, or `none` is asked for; every run shows it.
        limits: What one box may use.
        network: Hosts a box may reach (`example.org`, `*.example.org:8443`); empty for no network at all.
        packages: Whether the box's interpreter finds the packages installed here.
    """

    tier: Literal["auto", "bubblewrap", "landlock", "container", "none"] = "auto"
    allow_unsafe: bool = False
    limits: Limits = Limits()
    network: tuple[str, ...] = ()
    packages: bool = False


class DialogueConfig(Frozen):
    """How a dialogue remembers.

    Attributes:
        agent: Name of the agent: the root of its namespaces. A user's memory is (agent, "users", user).
        shared: A further namespace every user's turns read, for example ("assistant", "shared"); empty for none. Nothing is written there.
        k: At most so many memories are shown per turn.
        neighbours: A candidate is compared with so many records when it is filed.
        idle_s: A session without a message for so many seconds ends.
        reflect: Who extracts and merges: `rules`, or `model`, which falls back on the rules.
        granularity: Pieces a session is cut into for extraction; `model` uses the first.
        max_tokens: Upper limit of an answer.
    """

    agent: str = "assistant"
    shared: tuple[str, ...] = ()
    k: int = Field(default=5, ge=1)
    neighbours: int = Field(default=8, ge=1)
    idle_s: float = Field(default=1800.0, gt=0)
    reflect: Literal["rules", "model"] = "rules"
    granularity: tuple[Granularity, ...] = Field(default=("utterance",), min_length=1)
    max_tokens: int = Field(default=512, ge=1)

    @model_validator(mode="after")
    def _apart(self) -> DialogueConfig:
        """What every user reads must hold nothing of a user's.

        Raises:
            ConfigError: `shared` holds users' memories, or lies in one.
        """
        users = (self.agent, "users")
        if self.shared and self.shared[:2] == users[: len(self.shared)]:
            given, fits = "/".join(self.shared), f"{self.agent}/shared"
            msg = f"shared={given!r} would show users' memories to all users: they live below {'/'.join(users)!r}. Use {fits!r}."
            raise ConfigError(msg)
        return self

    def namespace(self, user: str) -> tuple[str, ...]:
        """Where a user's records live."""
        return self.agent, "users", user


class RunConfig(Frozen):
    """Everything about a run that is not the task, the graph, the models, the memory or the tools.

    Attributes:
        budget: Upper limits of one attempt.
        seed: Seeds every random choice of the agent; the world's own seed is the task's.
        namespace: Where in memory the run reads and writes; empty means the name of the task's environment.
        scope: Which memories an attempt may see: of the same task, the same world instance, all, or none.
        prompt: Name of the view that shows the world to the model (registry kind `prompt`, or a dotted path); `auto` takes the one made
            for the world, else `raw`.
        trials: Attempts per task.
        concurrency: Episodes in flight per process.
        workers: Processes.
        solver: Decoding of the solver.
        reflector: Decoding of the reflector.
        recall: How memory is searched.
        dialogue: How a dialogue remembers.
        sandbox: Where code that an agent writes runs.
        checkpoint: `sqlite` keeps a LangGraph checkpoint after every node, so that a killed run continues in the middle of an attempt.
        approvals: `auto` allows everything, unless the Runner was given somebody to ask; `ask` asks a person before every action; the path
            of a YAML file has rules (see `reflectory.tools.rules.RuleFile`).
        out: The run directory; None means a new one below `runs/`.
    """

    budget: Budget = Budget(steps=50)
    seed: int = 0
    namespace: tuple[str, ...] = ()
    scope: Scope = "task"
    prompt: str = "auto"
    trials: int = Field(default=1, ge=1)
    concurrency: int = Field(default=16, ge=1)
    workers: int = Field(default=1, ge=1)
    solver: SolverConfig = SolverConfig()
    reflector: ReflectorConfig = ReflectorConfig()
    recall: RecallConfig = RecallConfig()
    dialogue: DialogueConfig = DialogueConfig()
    sandbox: SandboxConfig = SandboxConfig()
    checkpoint: Literal["none", "sqlite"] = "none"
    approvals: str = "auto"
    out: str | None = None

    @field_validator("approvals")
    @classmethod
    def _known_approvals(cls, value: str) -> str:
        if value not in {"auto", "ask"} and not value.endswith((".yaml", ".yml")):
            msg = f"there is no policy {value!r}. {did_you_mean(value, ['auto', 'ask'])} A path that ends in .yaml is a file of rules"
            raise ValueError(msg)
        return value

    def essence(self) -> dict[str, Any]:
        """The settings that decide the result, as JSON values: all but `INCIDENTAL`."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in INCIDENTAL}

    def digest(self) -> str:
        """A hash of `essence()`; equal hashes mean that a run may be continued with the other configuration."""
        return hashlib.sha256(json.dumps(self.essence(), sort_keys=True).encode()).hexdigest()


def load(source: RunConfig | Mapping[str, Any] | str | Path | None = None, overrides: Sequence[str] = ()) -> RunConfig:
    """Make a RunConfig from an object, a mapping or a YAML file, then apply overrides; what comes later wins.

    Args:
        source: The base; None means the defaults.
        overrides: `a.b=value` texts; the value is read as YAML.

    Returns:
        The validated settings.

    Raises:
        ConfigError: The file cannot be read, a key is unknown (the message names the nearest) or a value does not fit.
    """
    given = _mapping(source)
    for override in overrides:
        _apply(given, override)
    _known_keys(given, RunConfig, "")
    # Onto the defaults, part by part: `budget.tokens=9` must not undo the default limit of steps.
    data = _merge(RunConfig().model_dump(mode="json"), given)
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        msg = f"the configuration does not fit: {problems}."
        raise ConfigError(msg) from error


def dump(config: RunConfig) -> str:
    """The settings as YAML text that `load` reads back to an equal object."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _mapping(source: RunConfig | Mapping[str, Any] | str | Path | None) -> dict[str, Any]:
    if source is None:
        return {}
    if isinstance(source, RunConfig):
        return source.model_dump(mode="json")
    if isinstance(source, Mapping):
        return {str(key): _plain(value) for key, value in source.items()}
    path = Path(source)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"cannot read the configuration {path}: {error.strerror or error}."
        raise ConfigError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path} is not YAML: {error}."
        raise ConfigError(msg) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        msg = f"{path} must hold a mapping of settings, not {type(data).__name__}."
        raise ConfigError(msg)
    return data


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _apply(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        msg = f"{override!r} is not an override. Write `key=value` or `part.key=value`."
        raise ConfigError(msg)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"the value of {override!r} is not YAML: {error}."
        raise ConfigError(msg) from error
    place = data
    for key in keys[:-1]:
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            msg = f"{override!r} goes into {key!r}, which holds a single value."
            raise ConfigError(msg)
        place = inner
    place[keys[-1]] = value


def _known_keys(data: Mapping[str, Any], model: type[BaseModel], prefix: str) -> None:
    for key, value in data.items():
        field = model.model_fields.get(str(key))
        if field is None:
            msg = f"there is no setting {prefix}{key}. {did_you_mean(str(key), model.model_fields)}"
            raise ConfigError(msg)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            _known_keys(value, inner, f"{prefix}{key}.")
