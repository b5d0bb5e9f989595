"""Filters over the values of a store's items: one column of small numbers per field, so that a filter looks at each distinct value once.

The meaning is that of LangGraph's stores: a bare value must be equal (a mapping must contain, a list must match item by item), and
`$eq $ne $gt $gte $lt $lte` compare. A missing field is None. Where LangGraph's in-memory store raises because a value is no number, the
item does not match; two texts that are no numbers are compared as texts, as its SQL stores do.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflectory.memory.columns import Column
from reflectory.memory.events import canonical

_ORDERS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
OPERATORS: Final = ("$eq", "$ne", *_ORDERS)


def check_filter(condition: Mapping[str, Any] | None) -> None:
    """Refuse unknown operators before anything is searched.

    Raises:
        ValueError: As LangGraph's stores raise it.
    """
    for wanted in (condition or {}).values():
        if isinstance(wanted, dict) and any(str(name).startswith("$") for name in wanted):
            for name in wanted:
                if name not in OPERATORS:
                    msg = f"Unsupported operator: {name}. There is: {', '.join(OPERATORS)}."
                    raise ValueError(msg)


class Field:
    """The values of one field, by item. Equal values share a code."""

    def __init__(self) -> None:
        self._codes: Column[np.int32] = Column(np.int32)
        self._numbers: Column[np.float64] = Column(np.float64)  # by code; not a number where the value is none
        self._values: list[Any] = []
        self._known: dict[Any, int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def set(self, slot: int, value: Any) -> None:
        """Give an item its value; slots are new or known ones."""
        if slot >= len(self._codes):
            self._codes.extend(slot + 1 - len(self._codes))
        self._codes[slot] = self._code(value)

    def matches(self, wanted: Any) -> NDArray[np.bool_]:
        """Which items match a condition, shape (len(self),)."""
        codes = self._codes.values
        if isinstance(wanted, dict) and any(str(name).startswith("$") for name in wanted):
            mask = np.ones(len(codes), dtype=np.bool_)
            for name, operand in wanted.items():
                mask &= self._compare(name, operand)[codes]
            return mask
        return self._by_code(lambda value: agrees(value, wanted), wanted)[codes]

    def _code(self, value: Any) -> int:
        key = value if value is None or isinstance(value, str | int | float) else (canonical(value),)
        code = self._known.get(key)
        if code is None:
            code = self._known[key] = len(self._values)
            self._values.append(value)
            self._numbers.append(_number(value))
        return code

    def _compare(self, name: str, operand: Any) -> NDArray[np.bool_]:
        if name == "$eq":
            return self._by_code(lambda value: value == operand, operand)
        if name == "$ne":
            return ~self._by_code(lambda value: value == operand, operand)
        number, order = _number(operand), _ORDERS[name]
        if not math.isnan(number) or not isinstance(operand, str):
            with np.errstate(invalid="ignore"):
                return np.asarray(order(self._numbers.values, number), dtype=np.bool_)
        return np.array([isinstance(value, str) and order(value, operand) for value in self._values], dtype=np.bool_)

    def _by_code(self, holds: Callable[[Any], bool], wanted: Any) -> NDArray[np.bool_]:
        if wanted is None or isinstance(wanted, str | int | float):  # equal values share a code, so one look-up decides
            mask = np.zeros(len(self._values), dtype=np.bool_)
            code = self._known.get(wanted)
            if code is not None:
                mask[code] = True
            return mask
        return np.array([holds(value) for value in self._values], dtype=np.bool_)


def agrees(value: Any, wanted: Any) -> bool:
    """Whether a value matches a condition without operators at its top: equal, or for mappings contained, or for lists item by item."""
    if isinstance(wanted, dict):
        if any(str(name).startswith("$") for name in wanted):
            return all(_operator(value, name, operand) for name, operand in wanted.items())
        return isinstance(value, dict) and all(agrees(value.get(name), part) for name, part in wanted.items())
    if isinstance(wanted, list | tuple):
        return isinstance(value, list) and len(value) == len(wanted) and all(map(agrees, value, wanted))
    return bool(value == wanted)


def _operator(value: Any, name: str, operand: Any) -> bool:
    """A nested operator, for one value."""
    check_filter({"": {name: operand}})
    field = Field()
    field.set(0, value)
    return bool(field.matches({name: operand})[0])


def _number(value: Any) -> float:
    if isinstance(value, str | int | float):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return math.nan
    return math.nan
