"""What generated houses are made of: rooms, furniture, things, and where things usually are. Common sense, written by hand.

Weights are relative: 9 = nearly always there, 1 = now and then. `odd` places (for quirky houses) are the allowed ones not listed.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Room → furniture → (share of such rooms that have it, fewest, most).
ROOMS: Mapping[str, Mapping[str, tuple[float, int, int]]] = {
    "kitchen": {
        "Cabinet": (1.0, 6, 20), "CoffeeMachine": (1.0, 1, 1), "CounterTop": (1.0, 1, 4), "DiningTable": (0.55, 1, 2), "Drawer": (0.95, 3, 10),
        "Fridge": (1.0, 1, 1), "GarbageCan": (1.0, 1, 1), "Microwave": (1.0, 1, 1), "SinkBasin": (1.0, 1, 1), "StoveBurner": (1.0, 4, 4),
        "Toaster": (1.0, 1, 1), "Shelf": (0.25, 2, 4), "SideTable": (0.2, 1, 1), "Safe": (0.05, 1, 1),
    },
    "living room": {
        "ArmChair": (0.95, 1, 3), "CoffeeTable": (0.85, 1, 2), "GarbageCan": (1.0, 1, 1), "Shelf": (0.4, 3, 9), "SideTable": (0.75, 1, 3),
        "Sofa": (1.0, 1, 2), "DiningTable": (0.45, 1, 2), "Drawer": (0.75, 2, 8), "TVStand": (0.5, 1, 1), "Dresser": (0.35, 1, 1),
        "Ottoman": (0.15, 1, 1), "Cabinet": (0.15, 2, 6), "Desk": (0.1, 1, 1), "Safe": (0.08, 1, 1),
    },
    "bedroom": {
        "Bed": (1.0, 1, 2), "Drawer": (0.95, 3, 12), "Dresser": (0.5, 1, 1), "GarbageCan": (1.0, 1, 1), "LaundryHamper": (0.3, 1, 1),
        "Safe": (0.15, 1, 1), "SideTable": (0.7, 1, 2), "Desk": (0.85, 1, 2), "Shelf": (0.65, 2, 7), "ArmChair": (0.25, 1, 2),
        "Cabinet": (0.15, 2, 4), "DiningTable": (0.1, 1, 1),
    },
    "bathroom": {
        "CounterTop": (0.9, 1, 2), "Drawer": (0.55, 2, 7), "GarbageCan": (1.0, 1, 1), "HandTowelHolder": (1.0, 1, 2), "SinkBasin": (1.0, 1, 2),
        "Toilet": (1.0, 1, 1), "ToiletPaperHanger": (1.0, 1, 1), "TowelHolder": (1.0, 1, 2), "BathtubBasin": (0.75, 1, 1), "Cabinet": (0.6, 2, 6),
        "Shelf": (0.3, 1, 3), "Cart": (0.1, 1, 1), "SideTable": (0.1, 1, 1),
    },
}  # fmt: skip
OPENABLE = frozenset({"Cabinet", "Drawer", "Fridge", "Microwave", "Safe", "LaundryHamper"})
#: Closed most of the time in real rooms; the others of OPENABLE always are.
MAY_STAND_OPEN: Mapping[str, float] = {"Cabinet": 0.05, "Drawer": 0.05}

#: Thing → furniture it may stand in or on → how usual that is.
USUAL: Mapping[str, Mapping[str, int]] = {
    "AlarmClock": {"Desk": 6, "Dresser": 5, "SideTable": 5, "Shelf": 4, "DiningTable": 1, "Bed": 0, "Drawer": 0},
    "Apple": {"CounterTop": 7, "Fridge": 7, "DiningTable": 5, "Microwave": 2, "GarbageCan": 3, "SinkBasin": 3, "SideTable": 1},
    "BasketBall": {"Bed": 3, "ArmChair": 3, "Dresser": 1, "Sofa": 1},
    "Book": {"Bed": 7, "Desk": 5, "Drawer": 3, "Dresser": 3, "DiningTable": 2, "CoffeeTable": 2, "Cabinet": 1, "Shelf": 3, "Sofa": 2, "SideTable": 2, "ArmChair": 0},
    "Bowl": {"Cabinet": 7, "CounterTop": 5, "DiningTable": 4, "Fridge": 4, "Shelf": 2, "Desk": 2, "Dresser": 1, "Microwave": 1, "CoffeeTable": 1, "SideTable": 1, "SinkBasin": 1},
    "Box": {"Sofa": 5, "CoffeeTable": 4, "DiningTable": 4, "Shelf": 2, "Desk": 2, "SideTable": 2, "Dresser": 1, "ArmChair": 1, "Cabinet": 1, "Bed": 0, "TVStand": 0},
    "Bread": {"CounterTop": 9, "DiningTable": 6, "Fridge": 3, "SideTable": 1, "GarbageCan": 0, "Microwave": 0},
    "ButterKnife": {"CounterTop": 8, "DiningTable": 4, "Drawer": 3, "SinkBasin": 1, "SideTable": 1},
    "Candle": {"CounterTop": 5, "Toilet": 4, "Cabinet": 2, "Drawer": 2, "Shelf": 2, "SideTable": 1, "CoffeeTable": 1, "Cart": 1, "DiningTable": 0},
    "CD": {"Drawer": 5, "Desk": 4, "Dresser": 2, "SideTable": 2, "Shelf": 2, "GarbageCan": 2, "DiningTable": 1, "ArmChair": 0, "Safe": 0},
    "CellPhone": {"Bed": 5, "Drawer": 4, "Desk": 4, "SideTable": 3, "DiningTable": 2, "Dresser": 2, "Shelf": 2, "Sofa": 2, "ArmChair": 1, "CoffeeTable": 1, "CounterTop": 2, "Safe": 0},
    "Cloth": {"BathtubBasin": 5, "Cabinet": 4, "Drawer": 3, "CounterTop": 3, "SinkBasin": 1, "Toilet": 1, "Shelf": 1, "Cart": 1, "LaundryHamper": 1, "GarbageCan": 0},
    "CreditCard": {"Drawer": 5, "SideTable": 4, "Shelf": 3, "Dresser": 3, "Desk": 3, "ArmChair": 3, "Sofa": 3, "CoffeeTable": 2, "CounterTop": 2, "DiningTable": 2, "TVStand": 1, "Safe": 0},
    "Cup": {"Cabinet": 6, "Fridge": 5, "CounterTop": 5, "DiningTable": 3, "SinkBasin": 2, "Microwave": 2, "Shelf": 1, "SideTable": 1},
    "DishSponge": {"CounterTop": 6, "Cabinet": 5, "Drawer": 4, "DiningTable": 3, "SinkBasin": 2, "GarbageCan": 2, "Shelf": 1, "BathtubBasin": 1, "Toilet": 0, "Cart": 1},
    "Egg": {"Fridge": 7, "CounterTop": 5, "GarbageCan": 3, "SinkBasin": 3, "Microwave": 2, "DiningTable": 2, "SideTable": 1},
    "Fork": {"CounterTop": 7, "DiningTable": 4, "Drawer": 5, "SinkBasin": 2, "SideTable": 1},
    "Glassbottle": {"Cabinet": 4, "CounterTop": 4, "DiningTable": 2, "SinkBasin": 2, "GarbageCan": 1, "Fridge": 1, "Shelf": 1},
    "HandTowel": {"HandTowelHolder": 9, "CounterTop": 1, "Cabinet": 0, "GarbageCan": 0, "SinkBasin": 0},
    "Kettle": {"StoveBurner": 6, "Cabinet": 4, "CounterTop": 4, "DiningTable": 1, "Shelf": 0, "SinkBasin": 0},
    "KeyChain": {"Drawer": 4, "SideTable": 4, "Desk": 3, "Shelf": 3, "Dresser": 3, "CoffeeTable": 2, "ArmChair": 2, "Sofa": 2, "DiningTable": 1, "TVStand": 1, "CounterTop": 1, "Safe": 0},
    "Knife": {"CounterTop": 8, "DiningTable": 4, "Drawer": 5, "SinkBasin": 1, "SideTable": 0},
    "Ladle": {"CounterTop": 4, "Cabinet": 4, "Drawer": 3, "DiningTable": 2, "SinkBasin": 1},
    "Laptop": {"Bed": 7, "Desk": 4, "CoffeeTable": 3, "Sofa": 3, "DiningTable": 2, "Dresser": 1, "ArmChair": 1, "SideTable": 1, "Ottoman": 0, "TVStand": 0},
    "Lettuce": {"CounterTop": 7, "DiningTable": 5, "Fridge": 5, "SinkBasin": 1, "SideTable": 1, "GarbageCan": 0},
    "Mug": {"CounterTop": 6, "CoffeeMachine": 4, "Cabinet": 4, "Fridge": 3, "DiningTable": 3, "Microwave": 2, "Desk": 4, "SinkBasin": 2, "Shelf": 2, "SideTable": 2, "Drawer": 0},
    "Newspaper": {"SideTable": 4, "Sofa": 4, "CoffeeTable": 3, "DiningTable": 2, "Shelf": 2, "ArmChair": 2, "Dresser": 1, "TVStand": 1, "Drawer": 0, "Ottoman": 0, "GarbageCan": 0},
    "Pan": {"StoveBurner": 8, "CounterTop": 5, "Cabinet": 2, "DiningTable": 1, "Fridge": 1, "SinkBasin": 0},
    "PaperTowelRoll": {"CounterTop": 5, "DiningTable": 2, "GarbageCan": 2, "Shelf": 1, "Toilet": 1, "SideTable": 0},
    "Pen": {"Desk": 5, "Drawer": 4, "Dresser": 3, "Shelf": 3, "SideTable": 3, "DiningTable": 2, "CoffeeTable": 1, "GarbageCan": 1, "CounterTop": 1, "Bed": 0},
    "Pencil": {"Desk": 5, "Drawer": 5, "SideTable": 4, "Shelf": 3, "DiningTable": 2, "Dresser": 2, "GarbageCan": 1, "CounterTop": 1, "Bed": 0},
    "PepperShaker": {"Cabinet": 6, "CounterTop": 5, "DiningTable": 3, "Drawer": 3, "Shelf": 1, "SideTable": 1},
    "Pillow": {"Bed": 9, "Sofa": 5, "ArmChair": 2, "Ottoman": 0},
    "Plate": {"Cabinet": 6, "CounterTop": 5, "DiningTable": 3, "Fridge": 2, "Shelf": 1, "CoffeeTable": 1, "SinkBasin": 1, "SideTable": 0, "Microwave": 0},
    "Plunger": {"Toilet": 2, "Cabinet": 3, "Cart": 1},
    "Pot": {"StoveBurner": 9, "CounterTop": 3, "DiningTable": 1, "Fridge": 1, "Cabinet": 1, "SinkBasin": 0, "Shelf": 0},
    "Potato": {"Fridge": 6, "CounterTop": 6, "DiningTable": 4, "Microwave": 2, "SinkBasin": 2, "GarbageCan": 2, "SideTable": 1},
    "RemoteControl": {"CoffeeTable": 5, "Sofa": 5, "SideTable": 3, "TVStand": 3, "ArmChair": 2, "DiningTable": 2, "Dresser": 2, "Drawer": 1, "Ottoman": 0, "Shelf": 0},
    "SaltShaker": {"CounterTop": 6, "Cabinet": 5, "DiningTable": 3, "Drawer": 3, "SideTable": 1, "Shelf": 1},
    "SoapBar": {"CounterTop": 5, "Toilet": 4, "SinkBasin": 4, "Cabinet": 3, "BathtubBasin": 3, "Drawer": 2, "GarbageCan": 2, "Shelf": 1, "Cart": 1},
    "SoapBottle": {"CounterTop": 7, "Cabinet": 6, "DiningTable": 3, "GarbageCan": 2, "Toilet": 2, "Shelf": 1, "Drawer": 1, "Cart": 1, "SideTable": 0},
    "Spatula": {"CounterTop": 7, "DiningTable": 4, "Drawer": 4, "SinkBasin": 2, "SideTable": 0},
    "Spoon": {"CounterTop": 6, "Drawer": 5, "DiningTable": 4, "SinkBasin": 2, "SideTable": 1},
    "SprayBottle": {"CounterTop": 6, "Toilet": 5, "Cabinet": 4, "GarbageCan": 3, "Shelf": 1, "Cart": 1, "SideTable": 0, "DiningTable": 0},
    "Statue": {"Shelf": 6, "CoffeeTable": 4, "CounterTop": 2, "DiningTable": 3, "SideTable": 3, "TVStand": 2, "Dresser": 2, "Desk": 1, "Safe": 0},
    "TissueBox": {"Shelf": 4, "CoffeeTable": 3, "DiningTable": 2, "Drawer": 2, "CounterTop": 3, "SideTable": 2, "Desk": 1, "Toilet": 1, "Dresser": 1, "Cart": 1, "Cabinet": 0},
    "ToiletPaper": {"Toilet": 5, "CounterTop": 4, "Drawer": 2, "Cabinet": 2, "ToiletPaperHanger": 2, "GarbageCan": 2, "Shelf": 1, "Cart": 1},
    "Tomato": {"Fridge": 7, "CounterTop": 6, "DiningTable": 5, "GarbageCan": 2, "SinkBasin": 2, "SideTable": 1, "Microwave": 0},
    "Towel": {"TowelHolder": 9, "CounterTop": 1, "BathtubBasin": 0, "LaundryHamper": 0},
    "Vase": {"Shelf": 6, "CounterTop": 3, "Cabinet": 2, "CoffeeTable": 3, "DiningTable": 2, "Dresser": 2, "SideTable": 1, "TVStand": 1, "Desk": 1, "Safe": 0, "Drawer": 0},
    "Watch": {"Drawer": 4, "CoffeeTable": 4, "SideTable": 3, "Dresser": 2, "TVStand": 2, "DiningTable": 2, "Shelf": 1, "Desk": 1, "Safe": 1, "Sofa": 0},
    "WateringCan": {"CoffeeTable": 2, "Shelf": 2, "SideTable": 2, "DiningTable": 1},
    "WineBottle": {"CounterTop": 5, "DiningTable": 4, "Cabinet": 3, "GarbageCan": 1, "Shelf": 1, "Fridge": 1},
}  # fmt: skip
#: Things that stand around and cannot be picked up.
FIXTURES: Mapping[str, Mapping[str, int]] = {
    "HousePlant": {"CounterTop": 4, "DiningTable": 2, "SideTable": 2, "Shelf": 1, "Dresser": 1},
    "Television": {"TVStand": 5, "Dresser": 3},
    "Mirror": {"CounterTop": 1, "Dresser": 1},
    "Window": {"CounterTop": 1, "Shelf": 1},
}
LAMP_PLACES: Mapping[str, int] = {"SideTable": 5, "Desk": 5, "Dresser": 3, "Shelf": 2, "CoffeeTable": 1}

CLEANABLE = frozenset({"Apple", "Bowl", "ButterKnife", "Cloth", "Cup", "DishSponge", "Egg", "Fork", "Kettle", "Knife", "Ladle", "Lettuce", "Mug", "Pan",
                       "Plate", "Pot", "Potato", "SoapBar", "Spatula", "Spoon", "Tomato"})  # fmt: skip
HEATABLE = frozenset({"Apple", "Bread", "Cup", "Egg", "Mug", "Plate", "Potato", "Tomato"})
COOLABLE = frozenset({"Apple", "Bowl", "Bread", "Cup", "Egg", "Lettuce", "Mug", "Pan", "Plate", "Pot", "Potato", "Tomato", "WineBottle"})
SLICEABLE = frozenset({"Apple", "Bread", "Egg", "Lettuce", "Potato", "Tomato"})
CONTAINERS = frozenset({"Bowl", "Box", "Cup", "Mug", "Pan", "Plate", "Pot"})
LIGHTABLE = frozenset({"AlarmClock", "Book", "Bowl", "Box", "CD", "CellPhone", "CreditCard", "KeyChain", "Laptop", "Mug", "Newspaper", "Pen", "Pencil", "Pillow",
                       "RemoteControl", "Statue", "TissueBox", "Vase", "Watch"})  # fmt: skip
#: What a treatment needs.
APPLIANCE: Mapping[str, tuple[str, ...]] = {"clean": ("SinkBasin",), "heat": ("Microwave",), "cool": ("Fridge",)}
#: The six task types by the names the data uses, with both of their sentences.
SENTENCES: Mapping[str, tuple[str, str]] = {
    "pick": ("put a {obj} in {dest}.", "put some {obj} on {dest}."),
    "look": ("examine the {obj} with the {dest}.", "look at {obj} under the {dest}."),
    "clean": ("put a clean {obj} in {dest}.", "clean some {obj} and put it in {dest}."),
    "heat": ("put a hot {obj} in {dest}.", "heat some {obj} and put it in {dest}."),
    "cool": ("put a cool {obj} in {dest}.", "cool some {obj} and put it in {dest}."),
    "two": ("put two {obj} in {dest}.", "find two {obj} and put them in {dest}."),
}
TYPE_NAMES: Mapping[str, str] = {
    "pick": "pick_and_place_simple", "look": "look_at_obj_in_light", "clean": "pick_clean_then_place_in_recep",
    "heat": "pick_heat_then_place_in_recep", "cool": "pick_cool_then_place_in_recep", "two": "pick_two_obj_and_place",
}  # fmt: skip

#: The same in the lower case that games speak: thing → places that take it, verb → machines, thing → verbs.
PLACES_OF: Mapping[str, frozenset[str]] = {kind.lower(): frozenset(place.lower() for place in places) for kind, places in USUAL.items()}
MACHINES: Mapping[str, tuple[str, ...]] = {verb: tuple(kind.lower() for kind in kinds) for verb, kinds in APPLIANCE.items()}
TREATMENTS_OF: Mapping[str, tuple[str, ...]] = {
    kind.lower(): tuple(verb for verb, able in (("clean", CLEANABLE), ("heat", HEATABLE), ("cool", COOLABLE)) if kind in able)
    for kind in USUAL
}
#: Verb → what a treated thing is then.
MARKS: Mapping[str, str] = {"clean": "clean", "heat": "hot", "cool": "cool"}
