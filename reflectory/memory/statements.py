"""Which sentences of a conversation are worth keeping: rules instead of a model. English."""

from __future__ import annotations

import re
import textwrap

from reflectory.memory.meaning import meaning
from reflectory.retrieval.words import words

#: Characters of one text that are looked at, and of one sentence: what anybody may send must not cost more than it is worth.
MAX_TEXT, MAX_SENTENCE = 100_000, 2_000
_BLANK, _BREAK = re.compile(r"[^\S\n]+"), re.compile(r" ?\n[\n ]*")
#: A sentence ends at . ! ? or a line break, but not behind an abbreviation, an initial or inside a number. White space is collapsed before.
_END = re.compile(r"(?<=[.!?\u2026])[\"')\]]*[ \n]|\n|(?<=[\u3002\uff01\uff1f])")
_ABBREVIATION = re.compile(r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|approx|no|jr|sr|a\.m|p\.m)|\b[a-z])\.$", re.IGNORECASE)
_OPENING = re.compile(
    r"^(?:(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|dear \w+|greetings|oh|well|so|and|but|yes|yeah|yep|no|ok|okay|sure|right"
    r"|great|cool|nice|thanks(?: a lot| so much)?|thank you(?: so much| very much)?|by the way|btw|actually|anyway|haha|wow|sorry)\b"
    r"(?: there| again)?"
    r"\s*[,:;!\u2014-]+\s*|by the way |btw )+",
    re.IGNORECASE,
)
_REMEMBER = re.compile(
    r"^(?:please |can you |could you )*(?:remember|note|keep in mind|don't forget|do not forget|make a note)(?: that|:|,)?\s+(?!to\b)"
    r"(?P<what>.+)$",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"^(?:who|whose|whom|what|when|where|why|how|which|do you|did you|does|can you|could you|would you|will you|should i|shall i|may i"
    r"|are you|is (?:there|it|that|this)|have you|tell me|remind me|any idea)\b",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"^(?:please|remember|note that|show|tell|give|help|explain|write|find|list|summari[sz]e|translate|search|look up|read"
    r"|open|check|compare|describe|suggest|recommend|let me know|let's|go ahead|forget|ignore|repeat|continue|try)\b",
    re.IGNORECASE,
)
#: First person, but nothing said about oneself that will matter later.
_EMPTY = re.compile(
    r"^i(?: am|'m|'ve| have| would|'d|'ll| will)? (?:see|think so|guess|know|don't know|do not know|understand|agree|hope so|mean|wonder"
    r"|wondering|not sure|sure|sorry|afraid so|got it|get it|like to (?:know|ask)|want to (?:know|ask)|was wondering|have a question"
    r"|a question|just (?:asking|checking|wondering)|need (?:some |your )?help|appreciate|thank|bet|suppose|back|here)\b",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"\b(?:i|i'm|i've|i'll|i'd|my|mine|me|we|we're|we've|our|us)\b", re.IGNORECASE)
#: Speaks to whoever reads it: in third-party text such a line is an attempt to steer, or at least no statement.
_ADDRESSED = re.compile(
    r"\b(?:you|your|assistant|ai|chatbot|agent|system prompt|instructions?|ignore|disregard|remember|forget|must|user)\b"
    r"|^\W*(?:system|user|human)\s*:",
    re.IGNORECASE,
)


#: Two statements about oneself in one sentence: the first has a verb of its own, the second its own subject.
_CLAUSES = re.compile(
    r"(?:,|;)?\s+(?:and|but|;)\s+"
    r"(?=(?:i|we)(?:'\w+)?\s+\w+|(?:my|our)\s+\w+(?:\s+\w+){0,3}?\s+(?:is|are|was|were|has|have)\b)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"^(?:i|we)(?:'\w+\b|\s+\w)|^(?:my|our|the)\s.*\b(?:is|are|was|were|has|have|lives?|works?)\b", re.IGNORECASE)


def clauses(sentence: str) -> list[str]:
    """The statements joined in one sentence ("I'm Anna and I live in Paris"), so that each can change by itself; else the sentence."""
    parts = _CLAUSES.split(sentence)
    if len(parts) < 2 or not all(_CLAUSE.match(part) for part in parts):
        return [sentence]
    return [_capital(part.strip()) for part in parts]


def sentences(text: str) -> list[str]:
    """The sentences of a text, trimmed, in order; line breaks end one, abbreviations and initials do not.

    Args:
        text: Its first `MAX_TEXT` characters count; runs of white space are one space.

    Returns:
        Sentences of at most `MAX_SENTENCE` characters: a longer one is cut between words.
    """
    plain = _BREAK.sub("\n", _BLANK.sub(" ", text[:MAX_TEXT]))
    found: list[list[str]] = []
    for part in filter(None, map(str.strip, _END.split(plain))):
        # Longer than any abbreviation: a tail that begins inside a word looks like none.
        if found and _ABBREVIATION.search(found[-1][-1][-16:]):
            found[-1].append(part)
        else:
            found.append([part])
    return [piece for parts in found for piece in _pieces(" ".join(parts))]


def _pieces(sentence: str) -> list[str]:
    if len(sentence) <= MAX_SENTENCE:
        return [sentence]
    return textwrap.wrap(sentence, MAX_SENTENCE, break_on_hyphens=False)


def keepable(sentence: str) -> str | None:
    """What a speaker's sentence says that is worth keeping.

    Kept are statements in the first person, statements with a name, a number or a date, and whatever one is asked to remember. Dropped are
    questions, requests, greetings, acknowledgements and phrases without content.

    Args:
        sentence: One sentence of a person or an agent.

    Returns:
        The statement without its opening ("Hi, …"), or None.
    """
    text = _OPENING.sub("", sentence.strip().replace("\u2019", "'")).strip()
    asked = _REMEMBER.match(text)
    if asked is not None:
        return _capital(asked["what"].rstrip("?").strip()) if meaning(asked["what"]).content else None
    if text.endswith(("?", "\uff1f")) or _QUESTION.match(text) or _REQUEST.match(text) or _EMPTY.match(text):
        return None
    return _capital(text) if _says_something(text, first_person=True) else None


def promised(sentence: str) -> str | None:
    """What an agent's sentence says that is worth keeping: what it recommended, promised or did itself; general knowledge is not."""
    return keepable(sentence) if _SPEAKER.search(sentence) else None


def quotable(sentence: str) -> str | None:
    """What a sentence of third-party text says: a statement with a name, a number or a date that speaks to nobody, or None."""
    text = sentence.strip()
    if text.endswith("?") or _ADDRESSED.search(text) or _REQUEST.match(text):
        return None
    return text if _says_something(text, first_person=False) else None


def _says_something(text: str, *, first_person: bool) -> bool:
    taken = meaning(text)
    if len(words(text)) < 3 or not taken.content:
        return False
    speaker = _SPEAKER.search(text) is not None
    if speaker:
        return first_person
    return bool(taken.names or taken.numbers or (taken.times and len(taken.content) > 1))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
