"""Benchmarks: which images, which prompt, how captions are drawn, and how they are measured, as one YAML file.

Two numbers compare only when they were measured in the same way. A benchmark says all of that once, has a version, and
a digest of everything that can change a number.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from capwright.recipes.files import check_scorers, list_recipes, not_found, parse_keys, read_yaml
from capwright.recipes.parts import Config, Count, SamplingConfig
from capwright.recipes.rewards import NamedScorer
from capwright.recipes.schema import DataSource


class Benchmark(Config):
    """Everything that captions of a model are measured under."""

    name: str = Field(description="what the benchmark is called")
    version: str = Field(description="changes whenever the same captions could get another number")
    source: str = Field(description="where the protocol is from: an arXiv id, an address, or whose choice it is")
    notes: str = Field("", description="what is the source's, what was chosen, and why")
    data: DataSource = Field(description="what is captioned; a path is relative to the file of the benchmark")
    split: str = Field("test", description="split to caption and to measure on")
    limit: Count | None = Field(None, description="the first so many samples; null: all")
    prompt: str = Field("", description="the instruction beside the image; empty: the one a model was saved with")
    decoding: SamplingConfig = Field(default=SamplingConfig(temperature=0.0), description="greedy by default")
    scorers: dict[str, dict[str, Any]] = Field(min_length=1, description="scorers by name, with their options")
    missing: Literal["error", "skip", "empty"] = Field("error", description="what becomes of images without a caption")

    @field_validator("version", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        """YAML reads a bare `1` as a number."""
        return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    @field_validator("scorers", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """`[tts, length]`, and `tts:` alone, are short forms."""
        if isinstance(value, list):
            return {name: {} for name in value}
        return {name: own or {} for name, own in value.items()} if isinstance(value, dict) else value

    @property
    def named_scorers(self) -> list[NamedScorer]:
        """Its scorers, for `files.check_scorers`."""
        return [NamedScorer(name, own, "scorers", f"scorers.{name}") for name, own in self.scorers.items()]

    @property
    def digest(self) -> str:
        """12 hex digits of everything that can change a number, but for the data, which have a fingerprint.

        Defaults are left out, so that a key that is added to benchmarks later changes no digest.
        """
        protocol = self.model_dump(exclude={"name", "version", "source", "notes"}, exclude_defaults=True)
        protocol["data"].pop("path", None)
        text = json.dumps(protocol, sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def list_benchmarks() -> dict[str, Path]:
    """The benchmarks that come with capwright, by name."""
    return list_recipes("benchmarks")


def load_benchmark(name: str | Path) -> Benchmark:
    """Read a benchmark: a YAML file, or the name of one that comes with capwright ("kindergarten").

    Raises:
        RecipeError: there is none (the message lists those there are), or one line a problem, each naming the file and
            the dotted key; also for scorers that do not exist and for wrong options of them.
    """
    path, known = Path(name).expanduser(), list_benchmarks()
    if not path.is_file():
        if str(name) not in known:
            raise not_found("benchmark", name, str(name), known)
        path = known[str(name)]
    found = parse_keys(Benchmark, read_yaml(path), str(path))
    check_scorers(found.named_scorers, str(path))
    if found.data.path is None:
        return found
    place = str((path.parent / Path(found.data.path).expanduser()).absolute())
    return found.model_copy(update={"data": found.data.model_copy(update={"path": place})})
