"""What a recipe can say about a reward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from capwright import plugins
from capwright.recipes.parts import Config
from capwright.types import ScorerError

#: How long a judge may be silent, by default: recipes import no judge. A test holds them to those of `Chat`.
JUDGE_SECONDS = {"patience": 60.0, "call_seconds": 120.0}
#: What a caption can be measured by besides rewards: its words, its tokens, its words over those of the references.
QUANTITIES = ("words", "tokens", "length_ratio")
Quantity = Literal["words", "tokens", "length_ratio"]


class OnlyIf(Config):
    """Where a reward counts; elsewhere it is 0. An easy reward waits for a hard one (conditioned rewards, arXiv
    2601.05242, eq. 8), or quality of language counts only at a reasonable length (BalCapRL, arXiv 2605.07394).
    """

    of: str = Field(description="another reward (after its range), or 'words', 'tokens', 'length_ratio' (see below)")
    at_least: float | None = Field(None, description="lowest value at which the reward counts; null: no bound")
    at_most: float | None = Field(None, description="highest value at which it counts; null: no bound")

    @model_validator(mode="after")
    def _some_bound(self) -> OnlyIf:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most or both")
        return self


class Overlong(Config):
    """A reward of length in place of a scorer: 1 up to `soft`, falling to 0 at `hard` (CapRL++, arXiv 2606.09393; the
    punishment of DAPO, arXiv 2503.14476, is the same minus 1).
    """

    of: Quantity = Field("tokens", description="what is long: 'words', 'tokens' or 'length_ratio'")
    soft: float = Field(ge=0.0, description="up to here nothing is lost")
    hard: float = Field(gt=0.0, description="from here on nothing is left")

    @model_validator(mode="after")
    def _in_order(self) -> Overlong:
        if self.soft >= self.hard:
            raise ValueError(f"soft ({self.soft:g}) must be below hard ({self.hard:g})")
        return self


class RewardConfig(Config):
    """One reward: a scorer seen as a number per caption."""

    scorer: str | None = Field(None, description="name of the scorer; null: the name of the reward")
    output: str | None = Field(None, description="which output of the scorer; null: its first")
    weight: float = Field(1.0, description="in the sum; under gdpo it weighs advantages (arXiv 2601.05242)")
    gate: bool = Field(True, description="counts for 'failed'; false for rewards of length or form")
    floor: float = Field(0.0, description="a gate reward at or below it is a failure")
    margin: float | None = Field(
        None, description="floor: the reward of the image's best reference minus this, where that is known; null: floor"
    )
    truncated: Literal["score", "unknown"] = Field("score", description="what a caption is worth that was cut off")
    only_if: OnlyIf | None = Field(None, description="where the reward counts; elsewhere it is 0; null: everywhere")
    overlong: Overlong | None = Field(None, description="a reward of length in place of a scorer; never a gate")
    timeout: float | None = Field(
        None,
        gt=0,
        description="seconds a call may take; its captions are unknown then, and it goes on in its thread. With a "
        "server as a judge longer than its patience and call_seconds together, so that an outage ends the run",
    )
    range: tuple[float, float] | None = Field(None, description="output values that become 0 and 1; null: as declared")
    options: dict[str, Any] = Field(default_factory=dict, description="passed to the scorer")

    @model_validator(mode="after")
    def _waits_for_outages(self) -> RewardConfig:
        """A judge that is down must end the run; a timeout before that would make failed rewards of its outage."""
        for name, one in self.options.items():
            if self.timeout is None or not isinstance(one, Mapping) or not str(one.get("name")).startswith("http"):
                continue
            limits = {key: one.get(key, value) for key, value in JUDGE_SECONDS.items()}
            if not all(isinstance(value, (int, float)) for value in limits.values()):
                continue  # the judge says what is wrong with it
            if self.timeout <= (noticed := sum(limits.values())):
                raise ValueError(
                    f"timeout {self.timeout:g} is no longer than the {noticed:g} s that an outage of {one['name']} may "
                    f"take until it is noticed ({' + '.join(f'{key} {value:g}' for key, value in limits.items())} of "
                    f"options.{name}); it would end in unknown rewards instead of a stop. Raise timeout, or lower those"
                )
        return self

    @model_validator(mode="after")
    def _length_is_no_gate(self) -> RewardConfig:
        if self.overlong is not None:
            others = ("scorer", "output", "range", "options", "margin")
            given = [name for name in others if getattr(self, name) not in (None, {})]
            given += ["gate"] if self.gate and "gate" in self.model_fields_set else []
            if given:
                raise ValueError(f"overlong is a reward of its own and no gate; leave {', '.join(given)} out")
            object.__setattr__(self, "gate", False)
        return self


class NamedScorer(NamedTuple):
    """A scorer that a file names with its options, and under which dotted keys."""

    name: str
    options: Mapping[str, Any]
    key: str
    options_key: str


def reward_scorers(rewards: Mapping[str, RewardConfig]) -> list[NamedScorer]:
    """The scorers of rewards; one of length alone has none."""
    return [
        NamedScorer(
            reward.scorer or name,
            reward.options,
            f"rewards.{name}.scorer" if reward.scorer else f"rewards.{name}",
            f"rewards.{name}.options",
        )
        for name, reward in rewards.items()
        if reward.overlong is None
    ]


def scorer_problems(scorers: Iterable[NamedScorer], has_plugins: bool = False) -> Iterator[tuple[str, str]]:
    """What is wrong with scorers that a file names and with their options: (dotted key, what is wrong).

    Nothing is made for it, neither a scorer nor a judge, and no plugin is executed: what is not there yet and could
    come from one (from any that the file names, if it `has_plugins`) is looked at when it is made.
    """
    from capwright.scorers.registry import is_loaded, option_problems

    for name, options, key, options_key in scorers:
        if not is_loaded(name) and (has_plugins or plugins.knows("scorer", name)):
            continue
        try:
            for option, problem in option_problems(name, options).items():
                yield f"{options_key}.{option}", problem
        except ScorerError as error:
            yield key, str(error)
