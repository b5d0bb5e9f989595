"""What the world says, in the words of the reference engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reflectory.envs.household.engine import House


def look(house: House, *, first: bool = False) -> str:
    """What `look` says; `first`: in the opening text, which lists all furniture."""
    t, name = house.t, house.game.names
    near = t.at.get(house.here, ())
    if near:
        floor = [
            f"a {name[thing]}"
            for thing, place in sorted(house.floor)
            if place == house.here
            for receptacle in near
            if (thing, receptacle) in house.taken_from
        ]
        return f"You are facing the {series([name[r] for r in near])}. Next to it, you see {series(floor)}."
    seen = [f"a {name[receptacle]}" for receptacle in sorted(t.places) for _ in t.places[receptacle]] if first else []
    return f"You are in the middle of a room. Looking quickly around you, you see {series(seen)}."


def describe(house: House, receptacle: str) -> str:
    """What a receptacle shows."""
    name = house.game.names
    things = series([f"a {name[thing]}" for thing in house.contents.get(receptacle, ())])
    if receptacle not in house.t.openable:
        return f"On the {name[receptacle]}, you see {things}."
    if receptacle in house.opened:
        return f"The {name[receptacle]} is open. In it, you see {things}."
    return f"The {name[receptacle]} is closed."


def describe_thing(house: House, thing: str) -> str:
    """What examining a thing shows."""
    name, flags = house.game.names[thing], house.flags
    if thing in house.t.is_container:
        inner = series([f"a {house.game.names[item]}" for item in house.t.inside.get(thing, ())])
        return f"This is a normal {name}. In it, you see {inner}."
    clean, hot, cool = thing in flags["isclean"], thing in flags["ishot"], thing in flags["iscool"]
    if thing in flags["issliced"] and (clean or hot or cool):
        words = " and ".join(word for word, true in (("hot", hot), ("cool", cool and not hot), ("clean", clean)) if true)
        return f"This is a {words} sliced {name}."
    if clean and (hot or cool):
        return f"This is a {'hot' if hot else 'cool'} and clean {name}."
    if hot or clean or cool:
        return f"This is a {'hot' if hot else 'clean' if clean else 'cold'} {name}."
    if thing in house.t.toggleable and thing in flags["istoggled"]:
        return f"This {name} is on."
    if thing in house.t.sliceable and thing in flags["issliced"]:
        return f"This is a sliced {name}."
    return f"There's nothing special about {name}."


def series(items: list[str]) -> str:
    """`nothing`, `a`, `a, and b`, `a, b, and c`."""
    if not items:
        return "nothing"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])}, and {items[-1]}"
