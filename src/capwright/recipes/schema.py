"""What a recipe can say: every key, its default and its meaning.

A recipe is one YAML file. These models, with those of `parts`, `rewards` and `stages`, are the only place where its
keys are defined; `docs/recipes.md` is written from their descriptions. Reading files, overrides and error messages
live in `capwright.recipes.files`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from capwright.recipes.parts import Config, Count, Probability, SamplingConfig
from capwright.recipes.rewards import QUANTITIES, NamedScorer, RewardConfig, reward_scorers
from capwright.recipes.stages import SftStage, Stage


class Lora(Config):
    """Low-rank adapters (arXiv 2106.09685): only they train, the model itself stays as it was."""

    r: Count = Field(16, description="rank")
    alpha: float = Field(32.0, gt=0, description="scale; the update is multiplied by alpha / r")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout in front of the adapters")
    targets: str | list[str] | None = Field(None, description="layers to adapt; null: those of the language model")


class Cache(Config):
    """Processed images, and what a frozen vision tower says about them, are kept so that no image is decoded,
    processed or looked at twice in a run."""

    memory_gb: float = Field(2.0, ge=0.0, description="so much is kept, in CPU memory, by each process; 0: nothing")
    folder: str | None = Field(None, description="where to put what does not fit; null: it is made again")


class Model(Config):
    """The captioner that learns."""

    name: str = Field("embedded", description="'embedded', a folder, or a Hugging Face model id")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="type of the weights in memory; bfloat16 only with LoRA: trained in it, weights hardly move",
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field("no", description="autocast of the computation")
    device: str | None = Field(None, description="'cpu', 'cuda', ...; null takes the best there is")
    lora: Lora | None = Field(None, description="null trains all weights of the language model")
    train_vision: bool = Field(False, description="also train the vision tower (slower: it runs again for gradients)")
    max_pixels: Count | None = Field(None, description="bigger images are scaled down to so many pixels")
    gradient_checkpointing: bool = Field(False, description="recompute activations: less memory, about a third slower")
    cache: Cache = Field(default=Cache(), description="see below")
    attention: Literal["auto", "sdpa", "eager", "flex"] = Field(
        "auto", description="implementation; flex: long groups on a GPU without a dense mask (untested on hardware)"
    )
    compile: bool = Field(False, description="torch.compile the language model for learning; slow to begin")
    layout: Literal["auto", "packed", "repeated"] = Field("auto", description="auto: packed if the self-check agrees")
    prompt: str = Field("", description="the instruction beside the image; empty: the one the model was saved with")
    trust_remote_code: bool = Field(
        False, description="execute code that the model's folder brings, with all your rights"
    )

    @field_validator("dtype", mode="before")
    @classmethod
    def _no_float16(cls, value: Any) -> Any:
        if value == "float16":
            raise ValueError("weights cannot be trained in float16; use float32 or bfloat16, with mixed_precision")
        return value

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _bare_no(cls, value: Any) -> Any:
        """YAML reads a bare `no` as false."""
        return "no" if value is False else value

    @model_validator(mode="after")
    def _one_way_to_train_vision(self) -> Model:
        if self.lora is not None and self.train_vision:
            raise ValueError(
                "train_vision: true has no effect with lora, where only adapters train; "
                "leave it out and put modules of the vision tower into lora.targets"
            )
        return self


class Scenes(Config):
    """Build the kindergarten that comes with capwright."""

    n: Count = Field(4000, description="how many scenes, split 80 / 10 / 10")
    seed: int = Field(0, ge=0, description="same seed, same scenes")
    size: Count = Field(96, description="pixels of one side")
    tail: float = Field(0.0, ge=0.0, description="how unequal frequencies of toys are: 0 uniform, 1 Zipf's law")
    naming: Probability = Field(1.0, description="how often an expert's caption of a train scene names a toy")
    omission: Probability = Field(0.0, description="of the toys it does not name: the share it leaves out")
    variety: Probability = Field(0.0, description="how much expert captions differ from each other")
    experts: int | None = Field(None, ge=0, description="train scenes with expert captions; null: all")
    label_noise: Probability = Field(0.0, description="share of wrong labels of train scenes")

    def world(self) -> dict[str, Any]:
        """What is not as in the plain kindergarten: arguments of `capwright.scenes.WorldOptions`."""
        changed = self.model_dump(exclude_defaults=True)
        return {key: value for key, value in changed.items() if key not in ("n", "seed", "size")}


class DataSource(Config):
    """Where samples are from: `path` or `scenes`."""

    path: str | None = Field(None, description="a dataset folder")
    scenes: Scenes | None = Field(None, description="built into the run folder")

    @model_validator(mode="after")
    def _one_source(self) -> DataSource:
        if (self.path is None) == (self.scenes is None):
            raise ValueError("give either data.path (a dataset folder) or data.scenes (the built-in kindergarten)")
        return self


class Data(DataSource):
    """What to learn from: `path` or `scenes`."""

    train_split: str = Field("train", description="split to learn from")
    eval_split: str = Field("val", description="split to measure on")
    eval_limit: Count | None = Field(None, description="measure on the first so many images; null: all")


class EvaluationConfig(Config):
    """How stages are measured; training never depends on it."""

    scorers: list[str] = Field(default_factory=lambda: ["tts", "length"], description="scorers of the report")
    options: dict[str, dict[str, Any]] = Field(default_factory=dict, description="options by scorer name")
    sampling: SamplingConfig = Field(default=SamplingConfig(temperature=0.0), description="greedy by default")
    probe_limit: Count = Field(100, description="images of a probe (eval_every)")
    interval: Literal["jackknife", "percentile", "bca"] = Field(
        "jackknife", description="how confidence intervals are made; the last two by the bootstrap"
    )
    bootstrap: Count = Field(1000, description="resamples of percentile and bca intervals")
    batch_size: Count = Field(32, description="images captioned at once")


class PluginFile(Config):
    """A file of your own: scorers, advantages, data formats and more that the recipe names. It is executed when the
    recipe is carried out; a file name alone is a short form. `path/to/file.py:Name` in place of a name needs no entry.
    """

    path: str = Field(description="the file (.py), relative to the recipe")
    sha256: str = Field("", description="its digest, which a run fills in; a file that has changed is not executed")


class Recipe(Config):
    """A whole run: model, data, rewards, stages, evaluation."""

    name: str = Field(description="what the run is called")
    seed: int = Field(0, ge=0, description="everything random follows from it")
    model: Model = Field(default=Model(), description="the captioner that learns")
    data: Data = Field(description="what to learn from")
    rewards: dict[str, RewardConfig] = Field(
        default_factory=dict, description="rewards by name; rl stages need at least one"
    )
    stages: list[Stage] = Field(min_length=1, description="in order; each goes on from the one before, or `start_from`")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="how stages are measured")
    plugins: list[PluginFile] = Field(default_factory=list, description="files of your own that names come from")

    @property
    def named_scorers(self) -> list[NamedScorer]:
        """The scorers of its rewards and of its evaluation."""
        given = self.evaluation.options
        measured = {name: given.get(name, {}) for name in dict.fromkeys([*self.evaluation.scorers, *given])}
        wanted = [(name, own, "evaluation.scorers", f"evaluation.options.{name}") for name, own in measured.items()]
        return [*reward_scorers(self.rewards), *(NamedScorer(*one) for one in wanted)]

    @field_validator("rewards", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """`tts:` alone and `tts: 0.5` (a weight) are short forms."""
        if not isinstance(value, dict):
            return value
        return {k: {} if v is None else {"weight": v} if isinstance(v, (int, float)) else v for k, v in value.items()}

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        for name, reward in self.rewards.items():
            if name in QUANTITIES:
                raise ValueError(f"rewards.{name}: the name is taken by a quantity; choose another")
            if reward.only_if and reward.only_if.of not in (*QUANTITIES, *(k for k in self.rewards if k != name)):
                raise ValueError(f"rewards.{name}.only_if.of: no other reward '{reward.only_if.of}', no such quantity")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages: names must be unique, got {', '.join(names)}")
        for number, stage in enumerate(self.stages):
            if stage.start_from not in (None, "base", *names[:number]):
                earlier = ", ".join(["base", *names[:number]])
                raise ValueError(
                    f"stages.{stage.name}.start_from: no '{stage.start_from}' before it; there is {earlier}"
                )
        for stage in self.stages:
            if isinstance(stage, SftStage):
                continue
            if not any(reward.weight != 0 for reward in self.rewards.values()):
                raise ValueError(f"stage '{stage.name}' learns from rewards: give at least one with a weight")
            if stage.on_failed == "imitate" and not any(reward.gate for reward in self.rewards.values()):
                raise ValueError(f"stage '{stage.name}' imitates failed images: mark a reward with gate: true")
        return self
