"""What all groups of keys of a recipe have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from capwright import plugins, types

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Config(BaseModel):
    """A group of keys. Unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def check_name(kind: str, name: str, info: ValidationInfo, builtin: Mapping[str, str] = types.EMPTY) -> str:
    """A name that may come from a plugin; what the recipe's own plugins may bring is looked up when they are loaded.

    Raises:
        ValueError: there is no such name; the message has the nearest.
    """
    if not (info.context or {}).get("plugins") and not plugins.knows(kind, name, builtin):
        plugins.resolve(kind, name, builtin, ValueError)
    return name


class SamplingConfig(Config):
    """How captions are drawn."""

    temperature: float = Field(1.0, ge=0.0, description="0 is greedy; training needs a value above 0")
    top_p: Share = Field(1.0, description="nucleus filter; below 1 the update is slightly off-policy")
    top_k: int = Field(0, ge=0, description="keep the k likeliest tokens; 0 keeps all")
    max_tokens: Count = Field(48, description="a caption is cut off (finish: length) after so many tokens")
    guidance: float = Field(
        1.0, ge=0.0, le=100.0, description="the image's influence times this, in evaluation; training needs 1"
    )
    strategy: str = Field("", description="a plugin's way to choose the next word, by name; empty: none")

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, value: str, info: ValidationInfo) -> str:
        return check_name("decoding", value, info) if value else value

    def to_types(self) -> types.SamplingParams:
        """The same settings as the record that policies understand."""
        return types.SamplingParams(**self.model_dump())
