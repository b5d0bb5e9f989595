"""Chores on text files: logs, lists, configuration."""

from __future__ import annotations

import random
import re
from collections import Counter

from reflectory.envs.code.terminal import Files, Wanted, chore

_PEOPLE = ("ada", "bob", "cyn", "dee", "eli", "fay", "gus")
_PAGES = ("/", "/about", "/cart", "/item/7", "/item/12", "/search")


def _log(rng: random.Random) -> Files:
    def line(day: int) -> str:
        level = rng.choice(("INFO", "INFO", "WARN", "ERROR", "DEBUG"))
        said = rng.choice(("disk full", "user logged in", "no ERROR here", "timeout", "retrying", "cache miss"))
        return f"2024-05-{day:02} {rng.randrange(24):02}:{rng.randrange(60):02} {level} {rng.choice(_PEOPLE)}: {said}"

    names = rng.sample(("app", "web", "db", "mail"), 3)
    return {f"logs/{name}.log": "".join(f"{line(rng.randint(1, 9))}\n" for _ in range(rng.randint(12, 25))) for name in names}


def _access(rng: random.Random) -> Files:
    def line() -> str:
        status = rng.choice((200, 200, 200, 404, 500))
        return f"10.0.{rng.randrange(3)}.{rng.randrange(4)} GET {rng.choice(_PAGES)} {status} {rng.randrange(50, 9000)}\n"

    return {
        "access.log": "".join(line() for _ in range(rng.randint(40, 70))),
        "README": "One request a line: address, method, path, status, bytes.\n",
    }


@chore(tree=_log, solution="cat logs/*.log | grep -E '^[^ ]+ [^ ]+ ERROR ' | sort > errors.txt")
def collect_errors(files: Files) -> Wanted:
    """Each line of the files in `logs/` is DATE TIME LEVEL PERSON: WORDS.

    Write the lines with the level ERROR from all of them into `errors.txt`, sorted as `sort` does in the C locale (by bytes). Mind
    that ERROR may stand in the words of other lines too.
    """
    lines = [line for text in files.values() for line in text.splitlines() if line.split()[2] == "ERROR"]
    return {"errors.txt": "\n".join(sorted(lines))}


@chore(
    tree=_log,
    solution="""
    for f in logs/*.log; do
      printf '%s %d\\n' "$(basename "$f" .log)" "$(awk '$3 == "WARN"' "$f" | wc -l)"
    done | sort > warnings.txt
    """,
)
def count_warnings(files: Files) -> Wanted:
    """Each line of the files in `logs/` is DATE TIME LEVEL PERSON: WORDS.

    Write `warnings.txt` with one line NAME COUNT for each log file, where NAME is the name of the file without folder and `.log`, and
    COUNT the number of its lines with the level WARN (0 where there are none). Order the lines by name.
    """
    rows = {path[5:-4]: sum(line.split()[2] == "WARN" for line in text.splitlines()) for path, text in files.items()}
    return {"warnings.txt": "\n".join(f"{name} {count}" for name, count in sorted(rows.items()))}


@chore(
    tree=_log,
    solution="""
    cat logs/*.log | awk '{print $4}' | tr -d : | sort | uniq -c | sort -k1,1nr -k2 | awk '{print $2, $1}' > people.txt
    """,
)
def count_people(files: Files) -> Wanted:
    """Each line of the files in `logs/` is DATE TIME LEVEL PERSON: WORDS.

    Write `people.txt` with one line PERSON COUNT for each person: in how many lines of all logs together. The most frequent comes
    first; people with the same count stand in alphabetical order.
    """
    counts = Counter(line.split()[3][:-1] for text in files.values() for line in text.splitlines())
    return {"people.txt": "\n".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))}


@chore(
    tree=_log,
    solution="""
    mkdir -p days
    cat $(ls logs/*.log) | awk '{print > ("days/" $1 ".log")}'
    """,
)
def split_by_day(files: Files) -> Wanted:
    """Each line of the files in `logs/` begins with a date, as 2024-05-01.

    Make a folder `days` with one file DATE.log for each date that occurs. It has all lines of that date: first those of the log whose
    name is alphabetically first, then those of the next, and so on, each in the order of its file.
    """
    days: dict[str, list[str]] = {}
    for path in sorted(files):
        for line in files[path].splitlines():
            days.setdefault(line.split()[0], []).append(line)
    return {f"days/{day}.log": "\n".join(lines) for day, lines in days.items()}


@chore(tree=_access, solution="awk '$4 == 404 {print $3}' access.log | sort -u > missing.txt")
def missing_pages(files: Files) -> Wanted:
    """The lines of `access.log` are ADDRESS METHOD PATH STATUS BYTES.

    Write `missing.txt`: the paths that were answered with status 404, each once, one a line, sorted by bytes.
    """
    found = {line.split()[2] for line in files["access.log"].splitlines() if line.split()[3] == "404"}
    return {"missing.txt": "\n".join(sorted(found))}


@chore(
    tree=_access,
    solution="""awk '{sum[$1] += $5} END {for (a in sum) print a, sum[a]}' access.log | sort -k2,2nr -k1,1 | head -n 3 > top.txt""",
)
def top_addresses(files: Files) -> Wanted:
    """The lines of `access.log` are ADDRESS METHOD PATH STATUS BYTES.

    Write `top.txt` with the three addresses that were sent most bytes in all, one line ADDRESS SUM each, the greatest sum first; equal
    sums in the order of `sort` for the addresses.
    """
    sums: Counter[str] = Counter()
    for line in files["access.log"].splitlines():
        sums[line.split()[0]] += int(line.split()[4])
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:3]
    return {"top.txt": "\n".join(f"{address} {count}" for address, count in ranked)}


def _config(rng: random.Random) -> Files:
    head = "# settings of the service\n"
    rows = [
        f"port = {rng.randint(2000, 9000)}\n",
        "debug = true\n# debug = false\n",
        f"name = {rng.choice(_PEOPLE)}\n",
        "old_port = 80\n",
        "timeout=30\n",
    ]
    rng.shuffle(rows)
    return {"etc/service.conf": head + "".join(rows), "etc/other.conf": "port = 1\ndebug = true\n"}


@chore(
    tree=_config,
    solution="""
    sed -i -e 's/^port = .*/port = 8080/' -e 's/^debug = .*/debug = false/' etc/service.conf
    printf 'workers = 4\\n' >> etc/service.conf
    """,
)
def edit_settings(files: Files) -> Wanted:
    """Change three settings of `etc/service.conf`.

    Set `port` to 8080 and `debug` to false, in place, written as `KEY = VALUE`, and add the line `workers = 4` at the end. All other lines
    stay as they are and where they are, comments and the key `old_port` too.
    """
    text = re.sub(r"(?m)^port = .*$", "port = 8080", files["etc/service.conf"])
    text = re.sub(r"(?m)^debug = .*$", "debug = false", text)
    return {"etc/service.conf": f"{text}workers = 4\n"}


def _notes(rng: random.Random) -> Files:
    words = ("colour", "flavour", "harbour", "grey", "centre", "colourful", "plain")
    names = [f"{folder}/{name}.txt" for folder in ("notes", "notes/old", "drafts") for name in rng.sample(_PEOPLE, 2)]
    files = {name: "".join(" ".join(rng.choice(words) for _ in range(6)) + "\n" for _ in range(rng.randint(2, 5))) for name in names}
    return {**files, "notes/keep.md": "colour stays here\n", "notes/old/plan.txt": "the colour is grey\n"}


@chore(tree=_notes, solution="find notes -name '*.txt' -exec sed -i 's/\\bcolour\\b/color/g' {} +")
def replace_word(files: Files) -> Wanted:
    """In all files below `notes/` (in its folders too) whose names end in `.txt`, replace the word "colour" by "color".

    Only the whole word is meant: "colourful" stays. Files with other endings and in other folders stay.
    """
    chosen = (path for path in files if path.startswith("notes/") and path.endswith(".txt"))
    return {path: re.sub(r"\bcolour\b", "color", files[path]) for path in chosen}


@chore(tree=_notes, solution="grep -rlw grey . | sed 's|^\\./||' | sort > found.txt")
def find_word(files: Files) -> Wanted:
    """Write `found.txt`: the paths of all files that have the word "grey" in them, one a line, sorted by bytes.

    Paths are relative to the current folder and do not begin with `./`.
    """
    return {"found.txt": "\n".join(sorted(path for path, text in files.items() if re.search(r"\bgrey\b", text)))}


def _lists(rng: random.Random) -> Files:
    stock = [f"{name}{number}" for name in ("nut", "bolt", "gear", "cog") for number in range(1, 8)]
    return {f"{name}.txt": "".join(f"{item}\n" for item in rng.sample(stock, 18)) for name in ("wanted", "stored")}


@chore(tree=_lists, solution="sort wanted.txt stored.txt | uniq -d > both.txt; sort stored.txt stored.txt wanted.txt | uniq -u > buy.txt")
def compare_lists(files: Files) -> Wanted:
    """`wanted.txt` and `stored.txt` have one name a line, in no order.

    Write `both.txt` with the names that stand in both, and `buy.txt` with those of `wanted.txt` that do not stand in `stored.txt`, both
    sorted by bytes.
    """
    wanted, stored = set(files["wanted.txt"].split()), set(files["stored.txt"].split())
    return {"both.txt": "\n".join(sorted(wanted & stored)), "buy.txt": "\n".join(sorted(wanted - stored))}


def _messy(rng: random.Random) -> Files:
    lines = [rng.choice(("alpha", "beta", "  gamma", "delta  ", "", "   ", "# note", "\tepsilon")) for _ in range(rng.randint(20, 30))]
    return {"raw.txt": "\n".join(["delta  ", *lines, "# end", "zeta"]) + "\n"}


@chore(
    tree=_messy,
    solution="sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' raw.txt | grep -v -e '^$' -e '^#' | awk '!seen[$0]++' > clean.txt",
)
def clean_lines(files: Files) -> Wanted:
    """Write the lines of `raw.txt` into `clean.txt`, cleaned.

    They have no white space at both ends. Lines that are empty then, and lines that begin with # then, are left out; of equal lines
    only the first stays. Otherwise the lines are in their order.
    """
    stripped = [line.strip() for line in files["raw.txt"].splitlines()]
    return {"clean.txt": "\n".join(dict.fromkeys(line for line in stripped if line and not line.startswith("#")))}


def _poem(rng: random.Random) -> Files:
    words = ("the", "The", "sea", "a", "Sea", "wind", "and", "AND", "stone", "light")
    lines = [" ".join(rng.choice(words) for _ in range(rng.randint(3, 7))) + rng.choice((".", ",", "!", "")) for _ in range(14)]
    return {"poem.txt": "\n".join(lines) + "\n"}


@chore(
    tree=_poem,
    solution="""
    tr 'A-Z' 'a-z' < poem.txt | grep -oE '[a-z]+' | sort | uniq -c | sort -k1,1nr -k2,2 | head -n 5 | awk '{print $1, $2}' > words.txt
    """,
)
def frequent_words(files: Files) -> Wanted:
    """Write `words.txt`: the five most frequent words of `poem.txt`, one line COUNT WORD each.

    Words are runs of letters, in lower case. The most frequent comes first; equally frequent ones stand in alphabetical order.
    """
    counts = Counter(re.findall(r"[a-z]+", files["poem.txt"].lower()))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    return {"words.txt": "\n".join(f"{count} {word}" for word, count in ranked)}
