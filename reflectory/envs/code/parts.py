"""What generated functions are put together from."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Constants = tuple[int | str, ...]


@dataclass(frozen=True)
class Part:
    """One step.

    Attributes:
        function: (value, constants …) → value; annotations say what it takes and gives, the docstring has the constants' names in braces.
        constants: Draws the constants.
    """

    function: Callable[..., Any]
    constants: Callable[[random.Random], Constants]

    @property
    def name(self) -> str:
        """Of the function."""
        return self.function.__name__

    @property
    def takes(self) -> str:
        """Type of its value."""
        return str(next(iter(self.function.__annotations__.values())))

    @property
    def gives(self) -> str:
        """Type of its result."""
        return str(self.function.__annotations__["return"])

    def said(self, constants: Constants) -> str:
        """The step in words."""
        names = list(self.function.__annotations__)[1:-1]
        return (self.function.__doc__ or "").format(**{name: _word(value) for name, value in zip(names, constants, strict=True)})


def _word(value: int | str) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def none(rng: random.Random) -> Constants:
    """No constants."""
    return ()


def between(low: int, high: int) -> Callable[[random.Random], Constants]:
    """A whole number, both ends included."""
    return lambda rng: (rng.randint(low, high),)


def one_of(*options: int | str) -> Callable[[random.Random], Constants]:
    """One of these."""
    return lambda rng: (rng.choice(options),)


def part(constants: Callable[[random.Random], Constants] = none) -> Callable[[Callable[..., Any]], Part]:
    """Make the decorated function a Part."""
    return lambda function: Part(function, constants)
