"""Pairs of statements of which it is known whether they say the same: what the error of merging is measured on.

Two pools share no family of statements and no value: rules are made looking at `tune`, figures come from `test`.
"""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

Pool = Literal["tune", "test"]


class Pair(NamedTuple):
    """Two statements of one user, `old` before `new`.

    Attributes:
        same: Whether one record may stand for both: they say the same, or one says all that the other does.
        kind: How the pair was made.
    """

    old: str
    new: str
    same: bool
    kind: str


class Family(NamedTuple):
    """Ways to state one kind of fact. `{v}` is its value.

    Attributes:
        says: Phrasings that mean the same.
        other: The same about somebody else, `{p}`.
        denies: The opposite.
        plans: Only wished or planned, or past.
        details: What may be added.
        values: Values no two of which mean the same.
    """

    says: tuple[str, ...]
    other: str
    denies: str
    plans: tuple[str, ...]
    details: tuple[str, ...]
    values: tuple[str, ...]


POOLS: dict[Pool, tuple[Family, ...]] = {
    "tune": (
        Family(
            ("I live in {v}.", "I reside in {v}", "I'm based in {v}.", "my home is in {v}", "I am living in {v} now"),
            "My {p} lives in {v}.",
            "I don't live in {v}.",
            ("I want to live in {v}.", "I used to live in {v}."),
            (" with my cat", " close to the river", " since 2019"),
            ("Paris", "Berlin", "Lisbon", "Oslo", "Vienna", "Madrid", "Prague", "Dublin"),
        ),
        Family(
            ("I like {v}.", "I enjoy {v}", "I'm fond of {v}.", "I love {v}!", "{v} is something I like"),
            "My {p} likes {v}.",
            "I don't like {v}.",
            ("I might like {v}.", "I used to like {v}."),
            (" a lot, with lemon", " in the garden", " on Sundays"),
            ("green tea", "strong coffee", "opera", "gardening", "horror films", "chess", "salsa dancing", "olives"),
        ),
        Family(
            ("I work as a {v}.", "My job is {v}", "I'm a {v} by profession.", "I am employed as a {v}"),
            "My {p} works as a {v}.",
            "I do not work as a {v}.",
            ("I want to work as a {v}.", "I worked as a {v}."),
            (" in a small team", " at the harbour", " three days a week"),
            ("nurse", "plumber", "lawyer", "pilot", "baker", "geologist", "translator", "carpenter"),
        ),
        Family(
            ("I own a {v}.", "I have a {v}", "There's a {v} that belongs to me."),
            "My {p} owns a {v}.",
            "I don't own a {v}.",
            ("I plan to buy a {v}.", "I had a {v}."),
            (" and a helmet", " that is red", " from 2015"),
            ("motorbike", "piano", "camper van", "telescope", "sailing boat", "kayak", "drone", "sewing machine"),
        ),
        Family(
            ("My dog is called {v}.", "My dog's name is {v}", "I have a dog named {v}.", "I've got a dog called {v}"),
            "My {p}'s dog is called {v}.",
            "My dog is not called {v}.",
            ("I want to call my dog {v}.", "I might name my dog {v}."),
            (" after a film", " and it is a poodle", " and it is four"),
            ("Rex", "Bella", "Milo", "Luna", "Rocky", "Daisy", "Bruno", "Coco"),
        ),
    ),
    "test": (
        Family(
            ("I speak {v}.", "I can speak {v}", "I know how to speak {v}.", "I'm able to speak {v}"),
            "My {p} speaks {v}.",
            "I don't speak {v}.",
            ("I want to learn to speak {v}.", "I would love to speak {v}."),
            (" with my grandchildren", " at the office", " fluently"),
            ("Catalan", "Swahili", "Finnish", "Korean", "Welsh", "Turkish", "Hindi", "Basque"),
        ),
        Family(
            ("I'm allergic to {v}.", "I am allergic to {v}", "I have an allergy to {v}.", "{v} give me an allergic reaction"),
            "My {p} is allergic to {v}.",
            "I'm not allergic to {v}.",
            ("I may be allergic to {v}.", "I used to be allergic to {v}."),
            (" and carry a pen for it", " since childhood", " and to nothing else"),
            ("peanuts", "cats", "bee stings", "strawberries", "lilies", "shellfish", "walnuts", "horses"),
        ),
        Family(
            ("My favourite band is {v}.", "My favorite band is {v}", "The band I like best is {v}.", "{v} is my favourite band"),
            "My {p}'s favourite band is {v}.",
            "My favourite band isn't {v}.",
            ("My favourite band used to be {v}.", "{v} might become my favourite band."),
            (" because of the singer", " since school", " of all time"),
            ("Blue Harbour", "The Lanterns", "Night Ferry", "Stone Orchard", "Paper Foxes", "Velvet Moss", "Iron Thistle", "Salt Parade"),
        ),
        Family(
            ("I drive a {v}.", "My car is a {v}", "The car I drive is a {v}.", "I'm driving a {v} these days"),
            "My {p} drives a {v}.",
            "I don't drive a {v}.",
            ("I hope to drive a {v}.", "I drove a {v}."),
            (" to work", " with winter tyres", " from 2011"),
            ("Volvo", "Skoda", "Fiat", "Tesla", "Peugeot", "Subaru", "Dacia", "Mazda"),
        ),
        Family(
            ("I play the {v}.", "I am a {v} player", "The instrument I play is the {v}.", "I play {v}"),
            "My {p} plays the {v}.",
            "I never play the {v}.",
            ("I would like to play the {v}.", "I played the {v}."),
            (" in a wedding band", " every evening", " by ear"),
            ("cello", "oboe", "accordion", "mandolin", "trombone", "harp", "ukulele", "bassoon"),
        ),
        Family(
            ("I studied {v} at university.", "I studied {v} at uni", "At university I studied {v}.", "I have a degree in {v}"),
            "My {p} studied {v} at university.",
            "I didn't study {v} at university.",
            ("I plan to study {v} at university.", "I considered studying {v} at university."),
            (" in Ghent", " for four years", " and dropped out"),
            ("law", "botany", "sociology", "geology", "philosophy", "statistics", "archaeology", "pharmacy"),
        ),
        Family(
            ("I drink {v} in the morning.", "In the morning I drink {v}", "I have {v} in the mornings.", "Every morning I drink {v}"),
            "My {p} drinks {v} in the morning.",
            "I don't drink {v} in the morning.",
            ("I want to drink {v} in the morning.", "I used to drink {v} in the morning."),
            (" with honey", " on the balcony", " before running"),
            ("oat milk", "black tea", "orange juice", "espresso", "kefir", "hot chocolate", "matcha", "tomato juice"),
        ),
        Family(
            ("I'm reading {v}.", "I am reading {v} at the moment", "The book I'm reading is {v}.", "I am currently reading {v}"),
            "My {p} is reading {v}.",
            "I'm not reading {v}.",
            ("I want to read {v}.", "I read {v} last year."),
            (" with my book club", " on the train", " for the second time"),
            ("Middlemarch", "Dune", "Ulysses", "Emma", "Dracula", "Beloved", "Walden", "Persuasion"),
        ),
    ),
}
_PEOPLE: dict[Pool, tuple[str, ...]] = {
    "tune": ("sister", "boss", "neighbour", "father"),
    "test": ("brother", "aunt", "colleague", "daughter"),
}
_NAMES: dict[Pool, tuple[str, ...]] = {
    "tune": ("Anna", "Tom", "Lena", "Omar", "Nils", "Ruth"),
    "test": ("Mara", "Jules", "Ines", "Pavel", "Sofie", "Amir", "Greta", "Liam"),
}
_COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: Phrasings with `{n}`, a number, and with `{d}` and `{h}`, a day and an hour; one of a row may stand for another.
_NUMBERED: dict[Pool, tuple[tuple[str, ...], ...]] = {
    "tune": (("I have {n} cats.", "I've got {n} cats"), ("My flat has {n} rooms.", "There are {n} rooms in my flat")),
    "test": (
        ("I run {n} kilometres a week.", "Each week I run {n} kilometres"),
        ("We have {n} grandchildren.", "We've got {n} grandchildren"),
        ("I own {n} shares.", "There are {n} shares that I own"),
    ),
}
_TIMED: dict[Pool, tuple[tuple[str, ...], ...]] = {
    "tune": (("My yoga class is on {d} at {h}.", "On {d} at {h} I have my yoga class"),),
    "test": (("I see my physiotherapist on {d} at {h}.", "On {d} at {h} I see my physiotherapist"), ("The choir meets on {d} at {h}.",)),
}
_SWAPPED: dict[Pool, tuple[str, ...]] = {
    "tune": ("{a} is taller than {b}.", "{a} lent {b} a ladder."),
    "test": ("{a} owes {b} ten euros.", "{a} beat {b} at chess.", "{a} started before {b}."),
}
_OPPOSED: dict[Pool, tuple[tuple[str, str], ...]] = {
    "tune": (("I bought a {v}.", "I sold a {v}."),),
    "test": (("I lost my {v}.", "I found my {v}."), ("I lent out my {v}.", "I borrowed a {v}.")),
}
_THINGS: dict[Pool, tuple[str, ...]] = {
    "tune": ("bicycle", "camera", "guitar", "jacket"),
    "test": ("umbrella", "tent", "laptop", "drill", "suitcase", "tripod", "ladder", "violin", "scooter", "toolbox", "keyboard", "blender"),
}

SAME = ("retyped", "rephrased", "number word", "reordered", "detail added", "detail dropped")
DIFFERENT = ("other value", "other subject", "denied", "planned or past", "other number", "other time", "roles swapped", "opposite act")


def make_pairs(count: int, *, pool: Pool, seed: int) -> list[Pair]:
    """Labelled pairs, half of them the same, the kinds in equal shares.

    Args:
        count: How many; fewer where a kind has no more different pairs.
        pool: Which families.
        seed: The same seed gives the same pairs; no pair comes twice.
    """
    rng = random.Random(f"{pool}|{seed}")
    found: dict[tuple[str, str], Pair] = {}
    for kinds, same in ((SAME, True), (DIFFERENT, False)):
        for number, kind in enumerate(kinds):
            wanted = count // 2 // len(kinds) + (number < count // 2 % len(kinds))
            for _ in range(40 * wanted):
                if wanted == 0:
                    break
                old, new = _make(kind, pool, rng)
                if (old, new) not in found and old != new:
                    found[old, new] = Pair(old, new, same, kind)
                    wanted -= 1
    pairs = list(found.values())
    rng.shuffle(pairs)
    return pairs


def _make(kind: str, pool: Pool, rng: random.Random) -> tuple[str, str]:
    family = rng.choice(POOLS[pool])
    value, other = rng.sample(family.values, 2)
    say = rng.choice(family.says)
    old = _fill(say, v=value)
    if kind in ("number word", "other number"):
        return _numbered(kind, pool, rng)
    if kind in ("reordered", "other time"):
        return _timed(kind, pool, rng)
    if kind == "roles swapped":
        a, b = rng.sample(_NAMES[pool], 2)
        form = rng.choice(_SWAPPED[pool])
        return form.format(a=a, b=b), form.format(a=b, b=a)
    if kind == "opposite act":
        first, second = rng.choice(_OPPOSED[pool])
        thing = rng.choice(_THINGS[pool])
        return tuple(rng.sample([first.format(v=thing), second.format(v=thing)], 2))  # type: ignore[return-value]
    if kind in ("detail added", "detail dropped"):
        longer = f"{old.rstrip('.!')}{rng.choice(family.details)}."
        plain = _fill(rng.choice(family.says[:2]), v=value)
        return (plain, longer) if kind == "detail added" else (longer, plain)
    new = {
        "retyped": lambda: _retype(old, rng),
        "rephrased": lambda: _fill(rng.choice([item for item in family.says if item != say]), v=value),
        "other value": lambda: _fill(rng.choice(family.says), v=other),
        "other subject": lambda: _fill(family.other, v=value, p=rng.choice(_PEOPLE[pool])),
        "denied": lambda: _fill(family.denies, v=value),
        "planned or past": lambda: _fill(rng.choice(family.plans), v=value),
    }[kind]()
    return (new, old) if rng.random() < 0.5 else (old, new)


def _numbered(kind: str, pool: Pool, rng: random.Random) -> tuple[str, str]:
    forms = rng.choice(_NUMBERED[pool])
    first, second = rng.choice(forms), rng.choice(forms)
    a, b = rng.sample(range(len(_COUNTS)), 2)
    digit = rng.random() < 0.5
    old = first.format(n=a + 2 if digit else _COUNTS[a])
    if kind == "number word":
        return old, second.format(n=_COUNTS[a] if digit else a + 2)
    return old, second.format(n=b + 2 if digit else _COUNTS[b])


def _timed(kind: str, pool: Pool, rng: random.Random) -> tuple[str, str]:
    forms = rng.choice(_TIMED[pool])
    day, other_day = rng.sample(_DAYS, 2)
    hour, other_hour = rng.sample(range(8, 20), 2)
    old = forms[0].format(d=day, h=f"{hour}:00")
    if kind == "reordered":
        return old, forms[-1].format(d=day, h=f"{hour}:00")
    if rng.random() < 0.5:
        return old, rng.choice(forms).format(d=other_day, h=f"{hour}:00")
    return old, rng.choice(forms).format(d=day, h=f"{other_hour}:00")


def _retype(text: str, rng: random.Random) -> str:
    """The same words typed otherwise: case, full stop, a written-out contraction, an opening."""
    changes = (
        lambda: text.lower(),
        lambda: text.rstrip(".!") if text[-1] in ".!" else f"{text}.",
        lambda: text.replace("I'm ", "I am ").replace("isn't", "is not").replace("I've ", "I have "),
        lambda: f"Well, {text}",
        lambda: f"  {text.rstrip('.!')} !",
    )
    return rng.choice(changes)()


def _fill(form: str, **fields: str) -> str:
    text = form.format(**fields)
    return text[:1].upper() + text[1:]
