"""The prompts of assistants: data files with slots, and the rule that a text in a slot can not leave it.

A prompt is a file `NAME.yaml` with `version`, `system` and `user`, and where they apply `max_tokens`, `temperature`,
`schema` (of a JSON answer), `abstain`, `axes` and `images` (which of the given things are pictures). A slot is `{name}`
in the user message. What fills it stands between `<name>` and `</name>`, with every `<`, `>` and `&` of its own
written as in HTML. So no caption can close its tags, open others, or write the control tokens of a chat template,
which are spelled `<|...|>`; what it says remains readable.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from capwright.types import EMPTY, ModelError

_SLOT = re.compile(r"\{([a-z_]+)\}")
_KEYS = {"version", "system", "user", "max_tokens", "temperature", "schema", "abstain", "axes", "images"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One way to put one task. `slots` are the names in `user`, in order; `digest` is of the file's content."""

    name: str
    version: int
    system: str
    user: str
    digest: str
    max_tokens: int = 512
    temperature: float = 0.0
    schema: Mapping[str, Any] | None = None
    abstain: str = ""
    axes: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    images: tuple[str, ...] = ()

    @property
    def protocol(self) -> str:
        """Name, version and digest: "split:1:5f0c9a1e"."""
        return f"{self.name}:{self.version}:{self.digest}"

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(_SLOT.findall(self.user))

    def fill(self, given: Mapping[str, Any]) -> str:
        """The user message with its slots filled; what is not among the slots is left out.

        A text stands as it is; a list as numbered lines from 1; None or "" as "(none)". Raises ModelError when a slot
        has nothing to fill it.
        """
        missing = [slot for slot in self.slots if slot not in given]
        if missing:
            raise ModelError(f"the prompt {self.name} also needs {', '.join(missing)}; give it under that name")
        return _SLOT.sub(lambda slot: tagged(slot[1], given[slot[1]]), self.user).strip()


def tagged(tag: str, value: Any) -> str:
    """The lines `<tag>`, the escaped value, `</tag>`."""
    return f"<{tag}>\n{escaped(value) or '(none)'}\n</{tag}>"


def escaped(value: Any) -> str:
    """A value as it stands in a prompt: no "<" or ">" is left; items of a list are one numbered line each."""
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(f"{i}. {escaped(one_line(str(item)))}" for i, item in enumerate(value, 1))
    return html.escape(str(value), quote=False)


def one_line(text: str) -> str:
    """The text with every run of white space, line breaks of any kind included, as one space."""
    return " ".join(text.split())


@lru_cache(maxsize=8)
def load_prompts(folder: str = "") -> Mapping[str, Prompt]:
    """The built-in prompts by name, with those of `folder` in their place: `split.yaml` there replaces `split`.

    Raises ModelError when the folder is not there, or a file of it is no prompt or no name of a built-in one that is
    asked for and does not start with "write_".
    """
    built_in = resources.files("capwright.models").joinpath("prompts")
    found = {
        file.name.removesuffix(".yaml"): _parse(file.name, file.read_text(encoding="utf-8"))
        for file in sorted(built_in.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    }
    if folder:
        found |= _own(Path(folder), found)
    return found


def _own(folder: Path, built_in: Mapping[str, Prompt]) -> dict[str, Prompt]:
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such folder of prompts")
    own = {}
    for file in sorted(folder.glob("*.yaml")):
        try:
            prompt = _parse(file.name, file.read_text(encoding="utf-8"), where=str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{file}: can not be read: {error}") from error
        if prompt.name in built_in:
            if set(prompt.slots) != set(built_in[prompt.name].slots):
                wanted = ", ".join(f"{{{slot}}}" for slot in built_in[prompt.name].slots)
                raise ModelError(f"{file}: the user message must have the slots {wanted} and no others")
        elif not prompt.name.startswith("write_"):
            names = ", ".join(built_in)
            raise ModelError(f"{file}: nobody asks with this prompt; name it write_TASK.yaml or one of {names}")
        own[prompt.name] = prompt
    return own


def _parse(name: str, text: str, where: str = "") -> Prompt:
    where = where or name
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ModelError(f"{where}: is no YAML: {error}") from error
    if not isinstance(read, dict):
        raise ModelError(f"{where}: must be a mapping with version, system and user")
    unknown = sorted(str(key) for key in set(read) - _KEYS)
    if unknown:
        raise ModelError(f"{where}: unknown key {', '.join(unknown)}; a prompt has {', '.join(sorted(_KEYS))}")
    for key, kind in (("version", int), ("system", str), ("user", str)):
        if not isinstance(read.get(key), kind):
            raise ModelError(f"{where}: {key} is missing or is not {'a number' if kind is int else 'a text'}")
    digest = blake2b(text.replace("\r\n", "\n").encode(), digest_size=4).hexdigest()
    read["images"] = tuple(read.get("images", ()))
    return Prompt(name=name.removesuffix(".yaml"), digest=digest, **read)
