"""The card of a checkpoint that was trained for one family of prompts (`reflectory.json` beside the weights)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from reflectory.errors import ModelUnavailable, UnsupportedTask
from reflectory.records import Request

CARD = "reflectory.json"


class Card(BaseModel):
    """What a checkpoint is for. Further keys (recipe, metrics, licence) are kept as they are.

    Attributes:
        format: Version of this file's form.
        family: Name of the family of checkpoints.
        supports: Names of the worlds it plays in.
        prefixes: What the last user message must start with; empty accepts any prompt.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    format: Literal[1]
    family: str
    supports: tuple[str, ...]
    prefixes: tuple[str, ...] = ()

    def check(self, request: Request, name: str) -> None:
        """Refuse what the checkpoint was never made for.

        Args:
            request: The request.
            name: The model's name, for the message.

        Raises:
            UnsupportedTask: The last user message starts with none of the prefixes.
        """
        asked = next((message.content for message in reversed(request.messages) if message.role == "user"), "")
        if not self.prefixes or asked.startswith(self.prefixes):
            return
        worlds, prefixes = ", ".join(self.supports), ", ".join(repr(prefix) for prefix in self.prefixes)
        msg = (
            f"{name} was trained for {worlds} alone and reads prompts that start with {prefixes}; this one starts with {asked[:40]!r}. "
            f"For {worlds} tasks use env={self.supports[0]!r} with its own prompts; for other tasks use model='hf:NAME' (a local "
            f"checkpoint), "
            "'scripted:extractive', or any LangChain chat model."
        )
        raise UnsupportedTask(msg)


def read_card(folder: Path) -> Card | None:
    """Read the card of a checkpoint folder.

    Args:
        folder: Where the weights lie.

    Returns:
        The card, None when there is none.

    Raises:
        ModelUnavailable: There is one, but it cannot be read.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        return Card.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        msg = f"{path} is not a model card of format 1: {error}. Write the checkpoint again, or remove the file to load it without a card."
        raise ModelUnavailable(msg) from error
