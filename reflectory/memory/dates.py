"""Relative dates in a text, resolved against the day it was said: "yesterday" means nothing a week later."""

from __future__ import annotations

import datetime
import re

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_COUNTS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_COUNT = rf"(\d{{1,3}}|{'|'.join(_COUNTS)})"
_PHRASE = re.compile(
    r"\b(?:(?P<near>the day before yesterday|the day after tomorrow|yesterday|today|tonight|tomorrow"
    r"|this morning|this afternoon|this evening|last night)"
    rf"|(?P<ago>{_COUNT} (?P<ago_unit>day|week|month|year)s? ago)"
    rf"|(?P<ahead>in {_COUNT} (?P<ahead_unit>day|week|month|year)s?)\b"
    rf"|(?P<side>last|next) (?P<what>week|month|year|{'|'.join(_DAYS)}))\b(?! \(\d{{4}})",
    re.IGNORECASE,
)
_NEAR = {"yesterday": -1, "last night": -1, "tomorrow": 1, "the day before yesterday": -2, "the day after tomorrow": 2}


def resolve(text: str, day: datetime.date) -> str:
    """Write the date behind every relative one that can be told simply.

    Args:
        text: A statement.
        day: When it was said.

    Returns:
        The text with ISO dates in brackets: "yesterday (2026-11-19)", "last month (2026-10)", "next year (2027)". What cannot be told, or
        lies outside the calendar, stays as it is; a text that was resolved before stays as it is.
    """

    def dated(found: re.Match[str]) -> str:
        try:
            return f"{found[0]} ({_date(found, day)})"
        except (OverflowError, ValueError):
            return found[0]

    return _PHRASE.sub(dated, text)


def _date(found: re.Match[str], day: datetime.date) -> str:
    if found["near"]:
        return (day + datetime.timedelta(days=_NEAR.get(found["near"].lower(), 0))).isoformat()
    for phrase, unit, sign in (("ago", "ago_unit", -1), ("ahead", "ahead_unit", 1)):
        if found[phrase]:
            count = next(part for part in found[phrase].lower().split() if part.isdecimal() or part in _COUNTS)
            return _shift(day, sign * (int(count) if count.isdecimal() else _COUNTS[count]), found[unit].lower())
    sign, what = (-1 if found["side"].lower() == "last" else 1), found["what"].lower()
    if what not in _DAYS:
        return _shift(day, sign, what)
    # "next Friday" said on a Friday is a week away; said on another day it is the coming one.
    gap = (_DAYS.index(what) - day.weekday()) * sign % 7 or 7
    return (day + datetime.timedelta(days=sign * gap)).isoformat()


def _shift(day: datetime.date, count: int, unit: str) -> str:
    """A date so many units away, as exact as the unit is: a day, the day of the week, a month, a year."""
    if unit in ("day", "week"):
        return (day + datetime.timedelta(days=count * (7 if unit == "week" else 1))).isoformat()
    if unit == "year":
        return f"{datetime.date(day.year + count, 1, 1).year:04d}"
    months = day.year * 12 + day.month - 1 + count
    return f"{datetime.date(months // 12, months % 12 + 1, 1):%Y-%m}"
