"""Whom to ask about text and pictures, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capwright.types import ModelError


def open_assistant(name: str | Mapping[str, Any], **options: Any) -> Any:
    """The assistant of this name; it implements every protocol of `ports` that it can.

    Args:
        name: "lexical", the reader of the built-in kindergarten; or a mapping with "name" and options.

    Raises:
        ModelError: there is no assistant of that name, or it does not have such an option.
    """
    if isinstance(name, Mapping):
        given = {**name, **options}
        if "name" not in given:
            raise ModelError('an assistant given as a mapping needs the key "name", such as {"name": "lexical"}')
        return open_assistant(given.pop("name"), **given)
    if name == "lexical":
        from capwright.scenes.assistant import LexicalAssistant

        if options:
            raise ModelError(f"the lexical assistant has no options ({', '.join(sorted(options))} given)")
        return LexicalAssistant()
    raise ModelError(f'there is no assistant {name!r}; name "lexical"')
