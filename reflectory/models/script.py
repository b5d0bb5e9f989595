"""The form of a scripted model's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from reflectory.errors import ConfigError


class ScriptedReply(BaseModel):
    """One answer.

    Attributes:
        text: What the model says.
        when: Answer whenever this stands in the prompt, as often as it does; without it the answer is given once, in the file's order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    when: str = ""


class ScriptFile(BaseModel):
    """Answers by role.

    ```yaml
    format: 1
    replies:
      solver:
        - go to cabinet 1
        - {when: "you see a mug 1", text: take mug 1 from cabinet 1}
      any:
        - I have nothing to add.
    ```

    Attributes:
        format: Version of this form.
        replies: Role → its answers; a plain string is an answer without `when`. `any` serves every role whose own answers do not fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    replies: dict[str, tuple[ScriptedReply, ...]]

    @field_validator("replies", mode="before")
    @classmethod
    def _plain_strings(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            role: [{"text": entry} if isinstance(entry, str) else entry for entry in entries] if isinstance(entries, list) else entries
            for role, entries in value.items()
        }

    @classmethod
    def load(cls, path: Path) -> ScriptFile:
        """Read a script.

        Args:
            path: The YAML file.

        Returns:
            The script.

        Raises:
            ConfigError: The file is missing, is no YAML, or has unknown or missing keys.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
            msg = (
                f"cannot read the script {path}: {error}. It needs `replies:` with a list of answers per role, for example `replies: "
                f"{{solver: [look]}}`."
            )
            raise ConfigError(msg) from error
