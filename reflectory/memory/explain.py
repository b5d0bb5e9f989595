"""Why a record is what it is, and why a query finds it or not: the journal in words."""

from __future__ import annotations

from typing import Any

from reflectory.errors import MemoryFault
from reflectory.memory.state import independent
from reflectory.memory.store import JournalMemory
from reflectory.records import Hit, Query, Record

#: How many of those ahead of a record are named.
AHEAD = 5


def explain(memory: JournalMemory, record_id: str, query: Query | None = None) -> dict[str, Any]:
    """Explain a record.

    Args:
        memory: Where it is, or was.
        record_id: Which one; forgotten ones too.
        query: If given, also why it is retrieved or rejected for this query, at the query's position.

    Returns:
        JSON values: `id`, `record` (None when forgotten, undone or rolled back), `lineage` and `sources` (independent ones), `steps`,
        `parents`, `story`: [{seq, at, event, words, counts}], and with a query `query`, see `judge`.

    Raises:
        MemoryFault: An id that never was in this memory.
    """
    events = memory.audit(record_id)
    record = memory.find(record_id)
    lineage = () if record is None else memory.lineage(record_id)
    told: dict[str, Any] = {
        "id": record_id,
        "record": None if record is None else record.model_dump(mode="json"),
        "lineage": [[origin.kind, origin.source] for origin in lineage],
        "sources": sorted(independent(lineage)),
        "steps": [] if record is None else list(record.steps),
        "parents": [] if record is None else list(record.parents),
        "story": [_chapter(event, record_id, first=number == 0) for number, event in enumerate(events)],
    }
    return told if query is None else {**told, "query": judge(memory, record_id, query)}


def judge(memory: JournalMemory, record_id: str, query: Query) -> dict[str, Any]:
    """Why a query finds a record or not.

    Args:
        memory: Where it is, or was.
        record_id: Which one.
        query: The query.

    Returns:
        `text`; `verdict`: "retrieved", "rejected" (a check failed) or "outranked" (it came after place k); `why`, a sentence; `checks`:
        [{check, ok, why}]; and when it was a candidate `rank` (from 1), `candidates`, `k`, `score`, `parts`, `last` (the score of the
        last one retrieved) and `ahead`: the `AHEAD` hits just before it, as {id, rank, score, parts, body}.

    Raises:
        MemoryFault: An id that never was in this memory, no such position, or the index does not serve what the journal holds.
    """
    memory.audit(record_id)  # refuses an id that never was here
    record = memory.find(record_id, query.as_of)
    checks = [{"check": "exists", "ok": record is not None, "why": _exists(memory, record_id, query)}]
    checks += [] if record is None else _checks(record, query)
    told: dict[str, Any] = {"text": query.text, "verdict": "rejected", "checks": checks}
    failed = [check["why"] for check in checks if not check["ok"]]
    if failed:
        return {**told, "why": f"rejected: {'; '.join(str(why) for why in failed)}."}
    hits = memory.recall(query.model_copy(update={"k": 0}))
    rank = next((place for place, hit in enumerate(hits, 1) if hit.record.id == record_id), None)
    if rank is None:
        msg = f"the record {record_id!r} passes every check and is no candidate: the index is stale. Run `reflectory memory rebuild`."
        raise MemoryFault(msg)
    hit, k = hits[rank - 1], query.k if query.k > 0 else len(hits)
    ahead = [_rival(other, place) for place, other in enumerate(hits[: rank - 1], 1)][-AHEAD:]
    place = {"rank": rank, "candidates": len(hits), "k": query.k, "score": hit.score, "parts": hit.parts}
    verdict = "retrieved" if rank <= k else "outranked"
    why = f"{verdict}: place {rank} of {len(hits)} candidates, {k} are returned; score {hit.score:.4g} from {_parts(hit)}."
    if verdict == "outranked":
        why += f" Place {k} had {hits[k - 1].score:.4g} from {_parts(hits[k - 1])}."
    return {**told, "verdict": verdict, "why": why, **place, "last": hits[min(k, len(hits)) - 1].score, "ahead": ahead}


def _exists(memory: JournalMemory, record_id: str, query: Query) -> str:
    where = "now" if query.as_of is None else f"at position {query.as_of}"
    return f"it {'exists' if memory.find(record_id, query.as_of) is not None else 'does not exist'} {where}"


def _checks(record: Record, query: Query) -> list[dict[str, Any]]:
    """What a query demands of a record, each with what was found."""
    inside = record.namespace[: len(query.namespace)] == query.namespace
    scope = {
        "none": (False, "the scope `none` finds nothing"),
        "all": (True, "the scope `all` takes any task and place"),
        "task": _same("task", query.task_key, record.task_key),
        "house": _same("place", query.situation_key, record.situation_key),
    }[query.scope]
    asked = "/".join(query.namespace) or "the root"
    found = [
        ("status", record.status == "active", f"its status is {record.status}"),
        ("namespace", inside, f"its namespace {'/'.join(record.namespace)!r} is {'' if inside else 'not '}at or below {asked}"),
        ("scope", *scope),
        (
            "kinds",
            not query.kinds or record.kind in query.kinds,
            f"it is a {record.kind}, wanted is {' or '.join(query.kinds) or 'any kind'}",
        ),
    ]
    return [{"check": name, "ok": ok, "why": why} for name, ok, why in found]


def _same(what: str, asked: str, has: str) -> tuple[bool, str]:
    if not asked:
        return False, f"the query names no {what}, and an empty one finds nothing"
    return has == asked, f"its {what} is {has!r}, asked for {asked!r}"


def _rival(hit: Hit, place: int) -> dict[str, Any]:
    return {"id": hit.record.id, "rank": place, "score": hit.score, "parts": hit.parts, "body": hit.record.body[:200]}


def _parts(hit: Hit) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in hit.parts.items()) or "no parts"


def _chapter(event: dict[str, Any], record_id: str, *, first: bool) -> dict[str, Any]:
    after = " (undone since)" if event["undone"] else " (rolled back since)" if event["rolled_back"] else ""
    counts = not event["undone"] and not event["rolled_back"]
    words = _words(event["event"], event["payload"], record_id, first=first)
    return {"seq": event["seq"], "at": event["at"], "event": event["event"], "words": words + after, "counts": counts}


def _words(kind: str, payload: dict[str, Any], record_id: str, *, first: bool) -> str:
    """An event from the record's point of view, as a phrase."""
    if kind in ("add", "merge"):
        return _arrival(kind, payload, first=first)
    if kind == "cite":
        return _citation(payload, record_id)
    if kind in ("undo", "rollback"):
        return f"event {payload['seq']} undone" if kind == "undo" else f"everything rolled back to position {payload['seq']}"
    if kind == "touch":
        return "its end of life was moved"
    said = {"quarantine": "quarantined", "promote": "made active", "revoke": "revoked", "forget": "forgotten", "supersede": "superseded"}
    by, reason = payload.get("by", ""), payload.get("reason", "")
    return f"{said[kind]}{f' by {by}' if by else ''}{f': {reason}' if reason else ''}"


def _arrival(kind: str, payload: dict[str, Any], *, first: bool) -> str:
    record, came = payload["record"], payload.get("imported")
    origins = ", ".join(f"{origin}:{source}" for origin, source in payload["lineage"])
    steps = f", resting on {', '.join(record['steps'])}" if record["steps"] else ""
    parents = f", made from {', '.join(record['parents'])}" if record["parents"] else ""
    if came is not None:
        return f"imported from {came['source']}, line {came['line']}, where it was a {came['kind']}; trust {record['trust']:g}"
    how = "the same text again" if kind == "merge" else f"written {'' if first else 'with a new text '}as {record['kind']}"
    return f"{how}, from {origins}{steps}{parents}; trust {record['trust']:g}"


def _citation(payload: dict[str, Any], record_id: str) -> str:
    if record_id not in payload["cited"]:
        return "shown and not used"
    outcome = {True: ", in an attempt that succeeded", False: ", in an attempt that failed", None: ""}[payload["helped"]]
    return f"{'shown and used' if record_id in payload['shown'] else 'used'}{outcome}"
