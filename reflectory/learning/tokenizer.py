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


def build_tokenizer(sentences: Iterable[str], *, pieces: int = 1600) -> PreTrainedTokenizerFast:
    """Make the tokenizer.

    Args:
        sentences: People's goal sentences (lower case) to learn word pieces from; may be empty.
        pieces: Upper limit of learned pieces.

    Returns:
        A fast tokenizer with <bos> in front of every text; unknown words fall into pieces, at worst characters.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    alphabet = [chr(code) for code in range(33, 127)]
    learner = Tokenizer(models.WordPiece(unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(sentences, trainers.WordPieceTrainer(vocab_size=pieces, initial_alphabet=alphabet, show_progress=False))
    learned = sorted(learner.get_vocab(), key=lambda piece: learner.get_vocab()[piece])
    numbered = [f"{kind} {number}" for kind in furniture_words() for number in range(1, 41 if kind in ("cabinet", "drawer") else 13)]
    rows = [
        *SPECIAL,
        *game_words(),
        *(str(number) for number in range(41)),
        *numbered,
        *alphabet,
        *(f"##{char}" for char in alphabet),
        *learned,
    ]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(rows))}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="<unk>", max_input_chars_per_word=60))
    names = "|".join(re.escape(kind) for kind in sorted(furniture_words(), key=len, reverse=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(rf"\b(?:{names}) \d+\b|\S+"), behavior="removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])])
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", model_max_length=512,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
