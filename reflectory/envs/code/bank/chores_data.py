"""Chores on tables and JSON."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import defaultdict
from typing import Any

from reflectory.envs.code.terminal import Files, Wanted, chore

_TOWNS = ("Ghent", "Lille", "Turin", "Porto", "Basel")
_NAMES = ("Ada", "Bob", "Cyn", "Dee", "Eli", "Fay", "Gus", "Hal", "Ivy", "Jon")


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def _table(head: list[str], rows: list[list[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *rows])
    return out.getvalue()


def _orders(rng: random.Random) -> Files:
    rows = [[1000 + number, rng.choice(_NAMES), rng.choice(_TOWNS), rng.randint(1, 90)] for number in range(rng.randint(25, 40))]
    rng.shuffle(rows)
    return {"orders.csv": _table(["id", "name", "town", "amount"], rows)}


@chore(
    tree=_orders,
    solution="""
    { echo town,total; tail -n +2 orders.csv | awk -F, '{sum[$3] += $4} END {for (t in sum) print t "," sum[t]}' | sort; } > totals.csv
    """,
)
def town_totals(files: Files) -> Wanted:
    """`orders.csv` has the columns id, name, town, amount.

    Write `totals.csv` with the columns town, total: the sum of the amounts of each town, ordered by town.
    """
    sums: dict[str, int] = defaultdict(int)
    for row in _rows(files["orders.csv"]):
        sums[row["town"]] += int(row["amount"])
    return {"totals.csv": _table(["town", "total"], [[town, sums[town]] for town in sorted(sums)])}


@chore(tree=_orders, solution="{ head -n 1 orders.csv; tail -n +2 orders.csv | awk -F, '$4 >= 50' | sort -t, -k4,4nr -k1,1n; } > large.csv")
def large_orders(files: Files) -> Wanted:
    """`orders.csv` has the columns id, name, town, amount.

    Write the rows with an amount of at least 50 into `large.csv`, with the same columns and their names in the first line; the greatest
    amount first, equal amounts by id, ascending.
    """
    rows = [row for row in _rows(files["orders.csv"]) if int(row["amount"]) >= 50]
    rows.sort(key=lambda row: (-int(row["amount"]), int(row["id"])))
    return {"large.csv": _table(["id", "name", "town", "amount"], [list(row.values()) for row in rows])}


def _people(rng: random.Random) -> Files:
    ids = rng.sample(range(100, 999), 8)
    people = [[number, name] for number, name in zip(ids, rng.sample(_NAMES, 8), strict=True)]
    paid = [[number, rng.randint(1, 50)] for number in [*rng.sample(ids, 5), 7]]
    rng.shuffle(paid)
    return {"people.csv": _table(["id", "name"], people), "paid.csv": _table(["id", "amount"], paid)}


@chore(
    tree=_people,
    solution="""
    ordered() { tail -n +2 "$1" | sort -t, -k1,1; }
    { echo name,amount; join -t, <(ordered people.csv) <(ordered paid.csv) | cut -d, -f2,3 | sort; } > joined.csv
    """,
)
def join_tables(files: Files) -> Wanted:
    """`people.csv` has the columns id, name and `paid.csv` the columns id, amount; no id stands twice in either.

    Write `joined.csv` with the columns name, amount for the ids that stand in both, ordered by name.
    """
    names = {row["id"]: row["name"] for row in _rows(files["people.csv"])}
    rows = sorted([names[row["id"]], row["amount"]] for row in _rows(files["paid.csv"]) if row["id"] in names)
    return {"joined.csv": _table(["name", "amount"], rows)}


@chore(
    tree=_people,
    solution="""
    python3 - <<'END'
    import csv, json
    paid = {row["id"]: int(row["amount"]) for row in csv.DictReader(open("paid.csv"))}
    people = [{"id": int(row["id"]), "name": row["name"], "paid": paid.get(row["id"])} for row in csv.DictReader(open("people.csv"))]
    json.dump(people, open("people.json", "w"))
    END
    """,
)
def table_to_json(files: Files) -> Wanted:
    """`people.csv` has the columns id, name and `paid.csv` the columns id, amount; no id stands twice in either.

    Write `people.json`: a list of objects with the keys "id" (a number), "name", and "paid" (the amount as a number, or null for who
    does not stand in `paid.csv`), in the order of `people.csv`.
    """
    paid = {row["id"]: int(row["amount"]) for row in _rows(files["paid.csv"])}
    people = [{"id": int(row["id"]), "name": row["name"], "paid": paid.get(row["id"])} for row in _rows(files["people.csv"])]
    return {"people.json": json.dumps(people)}


def _settings(rng: random.Random) -> Files:
    def some() -> dict[str, Any]:
        return {key: rng.choice((1, 2, "on", "off", True)) for key in rng.sample(("speed", "light", "sound", "mode", "depth"), 3)}

    return {
        "base.json": json.dumps({**some(), "screen": {"width": rng.randint(1, 9), "height": 5}}, indent=2),
        "local.json": json.dumps({**some(), "screen": {"width": 800}}),
    }


@chore(
    tree=_settings,
    solution="""
    python3 - <<'END'
    import json
    def merged(one, other):
        if isinstance(one, dict) and isinstance(other, dict):
            return {**one, **{key: merged(one[key], value) if key in one else value for key, value in other.items()}}
        return other
    json.dump(merged(json.load(open("base.json")), json.load(open("local.json"))), open("merged.json", "w"))
    END
    """,
)
def merge_settings(files: Files) -> Wanted:
    """Merge the JSON objects of `base.json` and `local.json` into `merged.json`.

    It has the keys of both; where both have a key, the value of `local.json` counts, but for two objects, which are merged in the same
    way.
    """

    def merged(one: Any, other: Any) -> Any:
        if not (isinstance(one, dict) and isinstance(other, dict)):
            return other
        return {**one, **{key: merged(one[key], value) if key in one else value for key, value in other.items()}}

    return {"merged.json": json.dumps(merged(json.loads(files["base.json"]), json.loads(files["local.json"])))}


def _events(rng: random.Random) -> Files:
    lines = []
    for number in range(rng.randint(20, 30)):
        event: dict[str, Any] = {"n": number, "user": rng.choice(_NAMES), "kind": rng.choice(("view", "buy", "view", "leave"))}
        if event["kind"] == "buy":
            event["price"] = rng.randint(1, 40)
        lines.append(json.dumps(event) if rng.random() < 0.9 else "{broken line")
    return {"events.jsonl": "\n".join([*lines, json.dumps({"n": 99, "user": "Ada", "kind": "buy", "price": 5})]) + "\n"}


@chore(
    tree=_events,
    solution="""
    python3 - <<'END'
    import json
    spent = {}
    for line in open("events.jsonl"):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["kind"] == "buy":
            spent[event["user"]] = spent.get(event["user"], 0) + event["price"]
    json.dump(spent, open("spent.json", "w"))
    END
    """,
)
def sum_events(files: Files) -> Wanted:
    """Each line of `events.jsonl` is a JSON object; some lines are broken and are to be left out.

    Write `spent.json`: an object from user to the sum of "price" over their events of the kind "buy". Users without such an event do
    not stand in it.
    """
    spent: dict[str, int] = defaultdict(int)
    for line in files["events.jsonl"].splitlines():
        if line.endswith("}"):
            event = json.loads(line)
            if event["kind"] == "buy":
                spent[event["user"]] += event["price"]
    return {"spent.json": json.dumps(spent)}


def _columns(rng: random.Random) -> Files:
    rows = [[rng.choice(_NAMES), str(rng.randint(18, 70)), rng.choice(_TOWNS), rng.choice(("yes", "no"))] for _ in range(12)]
    return {"people.tsv": "".join("\t".join(row) + "\n" for row in [["name", "age", "town", "member"], *rows])}


@chore(tree=_columns, solution="""awk -F'\\t' 'BEGIN {OFS = ","} {print $3, $1, $2}' people.tsv > people.csv""")
def swap_columns(files: Files) -> Wanted:
    """`people.tsv` has the columns name, age, town, member, separated by tabs, with their names in the first line.

    Write `people.csv` with the columns town, name, age in this order, separated by commas, also with their names in the first line,
    and the rows in the same order.
    """
    rows = [line.split("\t") for line in files["people.tsv"].splitlines()]
    return {"people.csv": "\n".join(f"{town},{name},{age}" for name, age, town, _ in rows)}


def _months(rng: random.Random) -> Files:
    return {
        f"sales/{month}.csv": _table(
            ["item", "sold"], [[item, rng.randint(0, 30)] for item in rng.sample(("pen", "ink", "pad", "cap", "bag"), 4)]
        )
        for month in ("2024-01", "2024-02", "2024-03")
    }


@chore(
    tree=_months,
    solution="""
    { echo month,item,sold; for f in sales/*.csv; do tail -n +2 "$f" | sed "s/^/$(basename "$f" .csv),/"; done; } > all.csv
    """,
)
def stack_tables(files: Files) -> Wanted:
    """The files `sales/MONTH.csv` have the columns item, sold.

    Write `all.csv` with the columns month, item, sold and the rows of all files: those of the first month first, and within a month in
    the order of its file. The month is the name of the file without `.csv`.
    """
    rows = [[path[6:-4], row["item"], row["sold"]] for path in sorted(files) for row in _rows(files[path])]
    return {"all.csv": _table(["month", "item", "sold"], rows)}
