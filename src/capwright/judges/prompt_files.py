"""The prompts of judges: data files with slots, and the rule that a text in a slot cannot leave it.

A prompt is a file `NAME.yaml` with `version`, `system` and `user`, and where they apply `max_tokens`, `temperature`,
`schema` (of a JSON answer), `abstain`, `axes` and `images` (which of the given things are images). A slot is `{name}`
in the user message. What fills it stands between `<name>` and `</name>`, with every `<`, `>` and `&` of its own
written as in HTML. So no caption can close its tags, open others, or write the control tokens of a chat template,
which are spelled `<|...|>`; what it says remains readable.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from capwright.console import shown
from capwright.judges.client.schema import check_schema
from capwright.types import EMPTY, ModelError
from capwright.yaml_text import load_yaml

_SLOT = re.compile(r"\{([a-z_]+)\}")
_NEEDED: dict[str, type] = {"version": int, "system": str, "user": str}
#: Keys that may be left out, and what they can be.
_OPTIONAL: dict[str, Callable[[Any], bool]] = {
    "max_tokens": lambda value: type(value) is int and value > 0,
    "temperature": lambda value: type(value) in (int, float) and 0 <= value <= 2,
    "schema": lambda value: isinstance(value, dict),
    "abstain": lambda value: isinstance(value, str),
    "axes": lambda value: isinstance(value, dict) and all(isinstance(text, str) for text in value.values()),
    "images": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
}
_KEYS = {*_NEEDED, *_OPTIONAL}


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
    built_in = resources.files("capwright.judges").joinpath("prompts")
    found = {
        file.name.removesuffix(".yaml"): _parse(file.name, file.read_text(encoding="utf-8"), file.name)
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
            prompt = _parse(file.name, file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{file}: cannot be read: {error}") from error
        if prompt.name in built_in:
            if set(prompt.slots) != set(built_in[prompt.name].slots):
                wanted = ", ".join(f"{{{slot}}}" for slot in built_in[prompt.name].slots)
                raise ModelError(f"{file}: the user message must have the slots {wanted} and no others")
        elif not prompt.name.startswith("write_"):
            names = ", ".join(built_in)
            raise ModelError(f"{file}: no scorer uses this prompt; name it write_TASK.yaml or one of {names}")
        own[prompt.name] = _completed(prompt, built_in.get(prompt.name), file)
    return own


def _completed(prompt: Prompt, built_in: Prompt | None, file: Path) -> Prompt:
    """With schema, abstaining option and axes of the built-in prompt where the file says nothing of them."""
    if built_in is None:
        if prompt.schema is not None and prompt.schema.get("type") != "object":
            raise ModelError(f"{file}: the schema must be of type object: what is written is a record")
        return prompt
    axes, abstain = prompt.axes or built_in.axes, prompt.abstain or built_in.abstain
    schema = built_in.schema if prompt.schema is None else prompt.schema
    if lacking := _lacking(built_in.schema or {}, schema or {}):
        raise ModelError(f"{file}: {lacking} must be as in the built-in prompt, or the answer could not be read")
    return replace(prompt, schema=schema, abstain=abstain, axes=axes)


def _lacking(wanted: Mapping[str, Any], given: Mapping[str, Any], where: str = "schema") -> str:
    """The first place where an answer by one schema might not follow another; "" where there is none."""
    if wanted.get("type", given.get("type")) != given.get("type"):
        return where
    if "enum" in wanted and not ("enum" in given and all(value in wanted["enum"] for value in given["enum"])):
        return where
    for name in wanted.get("required", ()):
        below = given.get("properties", {}).get(name)
        if below is None or name not in given.get("required", ()):
            return f"{where}.{name}"
        if lacking := _lacking(wanted["properties"][name], below, f"{where}.{name}"):
            return lacking
    return _lacking(wanted["items"], given.get("items", {}), f"{where}[]") if "items" in wanted else ""


def _parse(name: str, text: str, where: str) -> Prompt:
    try:
        read = load_yaml(text)
    except yaml.YAMLError as error:
        raise ModelError(f"{where}: is no YAML: {error}") from error
    if not isinstance(read, dict):
        raise ModelError(f"{where}: must be a mapping with version, system and user")
    unknown = sorted(str(key) for key in set(read) - _KEYS)
    if unknown:
        raise ModelError(f"{where}: unknown key {', '.join(unknown)}; a prompt has {', '.join(sorted(_KEYS))}")
    for key, kind in _NEEDED.items():
        if type(read.get(key)) is not kind:
            raise ModelError(f"{where}: {key} is missing or is not {'a number' if kind is int else 'a text'}")
    for key, fits in _OPTIONAL.items():
        if key in read and not fits(read[key]):
            raise ModelError(f"{where}: {key} cannot be {shown(read[key])}")
    try:
        check_schema(read.get("schema", {}))
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from None
    digest = blake2b(text.replace("\r\n", "\n").encode(), digest_size=4).hexdigest()
    read["images"] = tuple(read.get("images", ()))
    return Prompt(name=name.removesuffix(".yaml"), digest=digest, **read)
