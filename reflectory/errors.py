"""The error tree. Every error says what happened, what to do, and which names would have worked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ReflectoryError(Exception):
    """Root of all errors this package raises on purpose.

    Attributes:
        code: Stable identifier, for logs and for `outcome = infra:CODE`.
        exit_status: What the CLI returns: 2 for usage, 3 for something missing, else 1.
    """

    code = "error"
    exit_status = 1


class ConfigError(ReflectoryError):
    """A setting, option or configuration file cannot be used as given."""

    code = "config"
    exit_status = 2


class UnknownName(ConfigError):
    """A name that no registry entry, object or dotted path answers to."""

    code = "unknown_name"


class MissingDependency(ReflectoryError):
    """An optional package, a data folder or a program is not there."""

    code = "missing"
    exit_status = 3


class ModelError(ReflectoryError):
    """A model could not answer."""

    code = "model"


class ModelUnavailable(ModelError):
    """The model cannot run at all: no weights, no memory, no server."""

    code = "model_unavailable"
    exit_status = 3


class UnsupportedTask(ModelError):
    """The model was asked for something it was never made for."""

    code = "unsupported_task"


class ParseError(ReflectoryError):
    """Text (a model's output, a file) does not have the form it must have."""

    code = "parse"


class EnvError(ReflectoryError):
    """An environment broke; infrastructure, never a reward of 0."""

    code = "env"


class EnvLost(EnvError):
    """After a restart the world could neither be restored nor replayed to the same observation."""

    code = "env_lost"


class GameFileError(EnvError, ParseError):
    """A game file is malformed or hostile; the message names the file and the place."""

    code = "game_file"


class ToolError(ReflectoryError):
    """A tool failed; shown to the model as text."""

    code = "tool"


class SandboxError(ReflectoryError):
    """A sandbox cannot be made, or broke; what ran in it counts as never run."""

    code = "sandbox"


class SandboxMissing(SandboxError, MissingDependency):
    """No sandbox of the wanted kind works here; code that needs one is refused."""

    code = "sandbox_missing"
    exit_status = 3


class NetworkDenied(ReflectoryError):
    """The network policy does not let this address be reached."""

    code = "network_denied"


class MemoryFault(ReflectoryError):
    """The memory journal or one of its indexes cannot do what was asked."""

    code = "memory"


class RunError(ReflectoryError):
    """A run directory cannot be read, resumed or written."""

    code = "run"


class LimitReached(ReflectoryError):
    """A budget is spent. A scored outcome, not a failure: only the Runner catches it.

    Args:
        name: Which limit: steps, calls, tokens, reflections or seconds.
        used: How much was used, in the limit's unit.
        limit: The limit, in the same unit.
    """

    code = "limit"

    def __init__(self, name: str, used: float, limit: float) -> None:
        super().__init__(f"the {name} budget is spent: {used:g} of {limit:g}. Raise it with `-c budget.{name}=N`, or in RunConfig.budget.")
        self.name, self.used, self.limit = name, used, limit


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Say which names would have worked, the closest first.

    Args:
        name: What was asked for.
        options: What there is.

    Returns:
        One sentence that ends with a full stop; the same for the same arguments.
    """
    known = sorted(set(options))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"There is: {', '.join(known)}." if known else "There is none."
