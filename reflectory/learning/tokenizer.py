"""The tokenizer of the embedded policy: one token per game word and per numbered piece of furniture, word pieces for people's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from reflectory.envs.household import catalog

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
#: Words of prompts, commands and lessons besides the names of things.
GRAMMAR = [
    "task",
    "goal",
    "reflect",
    "act",
    "read",
    "write",
    ";",
    ".",
    "lesson",
    "hold",
    "nothing",
    "saw",
    "in",
    "here",
    "new",
    "less",
    "near",
    "at",
    "middle",
    "shut",
    "open",
    "jam",
    "tool",
    "broken",
    "balks",
    "said",
    "works",
    "dest",
    "lit",
    "unknown",
    "placed",
    "empty",
    "bare",
    "pick",
    "look",
    "clean",
    "heat",
    "cool",
    "two",
    "hot",
    "won",
    "lost",
    "refused",
    "ran",
    "pulled",
    "jammed",
    "loose",
    "not",
    "none",
    "no",
    "first",
    "opens",
    "pull",
    "jams",
    "stuck",
    "go",
    "to",
    "take",
    "from",
    "move",
    "with",
    "use",
    "close",
    "examine",
    "slice",
    "help",
    "inventory",
]
_MORE_PLACES = (
    "footstool",
    "bathtub",
    "sink",
    "towelholder",
    "papertowelholder",
    "paintinghanger",
    "cart",
    "box",
    "pot",
    "pan",
    "bowl",
    "plate",
    "cup",
    "mug",
)
_MORE_THINGS = (
    *map(str.lower, catalog.FIXTURES),
    "desklamp",
    "floorlamp",
    "curtains",
    "showerglass",
    "plunger",
    "stoveknob",
    "footstool",
    "sink",
    "bathtub",
)


def game_words() -> list[str]:
    """All words a game can say, without numbers."""
    furniture = {kind.lower() for room in catalog.ROOMS.values() for kind in room}
    return sorted({*GRAMMAR, *furniture, *catalog.PLACES_OF, *_MORE_PLACES, *_MORE_THINGS})


def furniture_words() -> list[str]:
    """Furniture types, the words that join with their number into one token."""
    return sorted({kind.lower() for room in catalog.ROOMS.values() for kind in room})


def most_pieces(kind: str) -> int:
    """The highest number of a piece of furniture of a type that is one token."""
    return 40 if kind in ("cabinet", "drawer") else 12


def build_tokenizer(sentences: Iterable[str], *, pieces: int = 1600) -> PreTrainedTokenizerFast:
    """Make the tokenizer.

    Args:
        sentences: People's goal sentences (lower case) to learn word pieces from; may be empty.
        pieces: Upper limit of learned pieces.

    Returns:
        A fast tokenizer with <bos> in front of every text; unknown words fall into pieces, at worst characters.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.WordPiece(unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(sentences, trainers.WordPieceTrainer(vocab_size=pieces, initial_alphabet=_ALPHABET, show_progress=False))
    learned = sorted(learner.get_vocab(), key=lambda piece: learner.get_vocab()[piece])
    return _assemble(learned, r"\S+", 512)


def transcript_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Make the tokenizer of raw transcripts: a token for every word of them, every mark and every line break.

    Args:
        texts: Transcripts that hold the words of the world.

    Returns:
        Like `build_tokenizer`.
    """
    words = sorted({word for text in texts for word in re.findall(r"[A-Za-z]+", text)})
    return _assemble(["\n", *words], r"\n|\w+|[^\w\s]", 2048)


_ALPHABET = [chr(code) for code in range(33, 127)]


def _assemble(words: Iterable[str], pattern: str, longest: int) -> PreTrainedTokenizerFast:
    """Game words, numbered furniture, characters and more words; furniture with its number is split off before `pattern`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbered = [f"{kind} {number}" for kind in furniture_words() for number in range(1, most_pieces(kind) + 1)]
    numbers = map(str, range(41))
    rows = [*SPECIAL, *game_words(), *numbers, *numbered, *_ALPHABET, *(f"##{char}" for char in _ALPHABET), *words]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(rows))}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="<unk>", max_input_chars_per_word=60))
    names = "|".join(re.escape(kind) for kind in sorted(furniture_words(), key=len, reverse=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(rf"\b(?:{names}) \d+\b|{pattern}"), behavior="removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])])
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", model_max_length=longest,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
