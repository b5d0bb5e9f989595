"""Functions on dates and times of day."""

from __future__ import annotations

import datetime
import itertools
import random

from reflectory.envs.code.problems import problem


def _day(rng: random.Random) -> str:
    return str(datetime.date(rng.randint(1999, 2025), 1, 1) + datetime.timedelta(days=rng.randrange(366)))


def _later(date: str, days: int) -> str:
    return str(datetime.date.fromisoformat(date) + datetime.timedelta(days=days))


def _moments(rng: random.Random) -> list[str]:
    return [f"{rng.randrange(24):02}:{rng.choice((0, 15, 30, 59)):02}" for _ in range(rng.randint(1, 6))]


@problem(
    examples=[("2024-01-31", 1), ("2023-11-15", 3)],
    edges=[
        ("2023-01-31", 1),
        ("2024-03-31", -1),
        ("2024-02-29", 12),
        ("2024-02-29", -48),
        ("2024-05-31", 0),
        ("2024-12-31", 2),
        ("2024-01-01", -1),
        # The 31st into each other month, and February of the years that are special.
        *(("2023-01-31", months) for months in range(2, 12)),
        *(("2022-12-31", months) for months in (1, 3, 5, 7)),
        *((f"{year}-12-31", 2) for year in (1899, 1979, 1999, 2003, 2099, 2399)),
    ],
    draw=lambda rng: (_day(rng), rng.randint(-30, 30)),
)
def add_months(date: str, months: int) -> str:
    """Move a date (YYYY-MM-DD) by a number of months, forwards or, when it is negative, backwards.

    The day stays the same, but for months that have no such day: then it is the last day of the month. February has 29 days in
    leap years, those divisible by 4 but not by 100, or divisible by 400.
    """
    year, month, day = map(int, date.split("-"))
    count = year * 12 + month - 1 + months
    year, month = count // 12, count % 12 + 1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 29 if month == 2 and leap else 28 if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    return f"{year:04}-{month:02}-{min(day, last):02}"


@problem(
    examples=[("2024-03-01", "2024-03-08", ["2024-03-05"]), ("2024-03-02", "2024-03-03", [])],
    edges=[
        ("2024-03-04", "2024-03-04", []), ("2024-03-04", "2024-03-04", ["2024-03-04"]), ("2024-03-08", "2024-03-01", []),
        ("2024-03-01", "2024-03-11", ["2024-03-09"]), ("2023-12-25", "2024-01-05", ["2023-12-25", "2024-01-01", "2024-01-01"]),
    ],
    draw=lambda rng: ((first := _day(rng)), _later(first, rng.randint(0, 40)), [_day(rng), first]),
    bugs=['boundary/0'],
)  # fmt: skip
def working_days(first: str, last: str, holidays: list[str]) -> int:
    """Count the working days from one date to another, both included.

    Working days are Monday to Friday without those in `holidays`. All dates are written YYYY-MM-DD. When the last date is before
    the first, there are none. A holiday may fall on a weekend, or stand in the list twice.
    """
    day, end = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    count = 0
    while day <= end:
        if day.weekday() < 5 and str(day) not in holidays:
            count += 1
        day += datetime.timedelta(days=1)
    return count


@problem(
    examples=[(3661,), (0,)],
    edges=[(59,), (60,), (86400,), (3600,), (90061,), (172800,), (1,), (86399,), (61,), (7205,), (90000,), (172860,), (86401,)],
    draw=lambda rng: (rng.randrange(400_000),),
    bugs=[("        if count:", "        if count > 1:")],
)
def in_words(seconds: int) -> str:
    """Say a number of seconds in days, hours, minutes and seconds.

    For example 3661 is "1 hour, 1 minute and 1 second". Units that are 0 are left out; a unit has an s at its end unless its number
    is 1. Between the last two stands " and ", between the others ", ". 0 is "now".
    """
    parts = []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}" + ("" if count == 1 else "s"))
    if len(parts) < 2:
        return parts[0] if parts else "now"
    return " and ".join([", ".join(parts[:-1]), parts[-1]])


@problem(
    examples=[(["23:50", "00:10", "12:00"],), (["08:00", "09:30"],)],
    edges=[(["00:00", "00:00"],), (["00:00"],), ([],), (["12:00", "00:00"],), (["23:59", "00:00"],), (["01:00", "13:00", "07:00"],)],
    draw=lambda rng: (_moments(rng),),
    bugs=["no-return/1"],
)
def closest_times(times: list[str]) -> int | None:
    """Find the smallest distance in minutes between two of some times of day (HH:MM), across midnight too.

    23:50 and 00:10 are 20 minutes apart. The same time twice has distance 0. For fewer than two times return None.
    """
    if len(times) < 2:
        return None
    minutes = sorted(int(time[:2]) * 60 + int(time[3:]) for time in times)
    gaps = [later - earlier for earlier, later in itertools.pairwise(minutes)]
    return min([*gaps, minutes[0] + 24 * 60 - minutes[-1]])


@problem(
    examples=[(2024, 2), (2023, 10)],
    edges=[(2024, 9), (2023, 1), (2000, 2), (1900, 2), (2021, 2), (2024, 12), (2023, 11), (2024, 11), (2026, 11)],
    draw=lambda rng: (rng.randint(1990, 2050), rng.randint(1, 12)),
    bugs=[("while len(days) % 7", "if len(days) % 7")],
)
def month_page(year: int, month: int) -> list[list[int]]:
    """Lay out a month as the weeks of a calendar.

    Each week is a list of seven days of the month, Monday first, with 0 for days that belong to another month. The first week holds
    the 1st, the last week the last day.
    """
    first = datetime.date(year, month, 1)
    after = datetime.date(year + month // 12, month % 12 + 1, 1)
    days = [0] * first.weekday() + list(range(1, (after - first).days + 1))
    while len(days) % 7:
        days.append(0)
    return [days[start : start + 7] for start in range(0, len(days), 7)]
