"""What a recipe can say: every key, its default and its meaning.

A recipe is one YAML file. These models are the only place where its keys are defined; `docs/recipes.md` is written from
the descriptions below. Reading files, overrides and error messages live in `capwright.recipes.files`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from capwright import types

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Part(BaseModel):
    """A group of keys. Unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sampling(Part):
    """How captions are drawn."""

    temperature: float = Field(1.0, ge=0.0, description="0 is greedy; training needs a value above 0")
    top_p: Share = Field(1.0, description="nucleus filter; below 1 the update is slightly off-policy")
    top_k: int = Field(0, ge=0, description="keep the k likeliest tokens; 0 keeps all")
    max_tokens: Count = Field(48, description="a caption is cut off (finish: length) after so many tokens")

    def to_types(self) -> types.Sampling:
        """The same settings as the record that policies understand."""
        return types.Sampling(self.temperature, self.top_p, self.top_k, self.max_tokens)


class Lora(Part):
    """Low-rank adapters (arXiv 2106.09685): only they train, the model itself stays as it was."""

    r: Count = Field(16, description="rank")
    alpha: float = Field(32.0, gt=0, description="scale; the update is multiplied by alpha / r")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout in front of the adapters")
    targets: str | list[str] | None = Field(None, description="layers to adapt; null: those of the language model")


class Model(Part):
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
    layout: Literal["auto", "packed", "repeated"] = Field("auto", description="auto: packed if the self-check agrees")
    prompt: str = Field("", description="the instruction beside the image; empty: the one the model was saved with")

    @field_validator("dtype", mode="before")
    @classmethod
    def _no_float16(cls, value: Any) -> Any:
        if value == "float16":
            raise ValueError("weights can not be trained in float16; use float32 or bfloat16, with mixed_precision")
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


class Scenes(Part):
    """Build the kindergarten that comes with capwright."""

    n: Count = Field(4000, description="how many scenes, split 80 / 10 / 10")
    seed: int = Field(0, ge=0, description="same seed, same scenes")
    size: Count = Field(96, description="pixels of one side")


class Data(Part):
    """What to learn from: `path` or `scenes`."""

    path: str | None = Field(None, description="a dataset folder")
    scenes: Scenes | None = Field(None, description="built into the run folder")
    train_split: str = Field("train", description="split to learn from")
    eval_split: str = Field("val", description="split to measure on")
    eval_limit: Count | None = Field(None, description="measure on the first so many images; null: all")

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if (self.path is None) == (self.scenes is None):
            raise ValueError("give either data.path (a dataset folder) or data.scenes (the built-in kindergarten)")
        return self


class Reward(Part):
    """One reward: a scorer seen as a number per caption."""

    scorer: str | None = Field(None, description="name of the scorer; null: the name of the reward")
    output: str | None = Field(None, description="which output of the scorer; null: its first")
    weight: float = Field(1.0, description="in the sum; under gdpo it weighs advantages (arXiv 2601.05242)")
    gate: bool = Field(True, description="counts for 'failed'; false for rewards of length or form")
    floor: float = Field(0.0, description="a gate reward at or below it is a failure")
    range: tuple[float, float] | None = Field(None, description="output values that become 0 and 1; null: as declared")
    options: dict[str, Any] = Field(default_factory=dict, description="passed to the scorer")


class Imitation(Part):
    """What failed images do under `on_failed: imitate`."""

    batch: Count = Field(
        16, description="the buffer joins the loss when it holds so many images (or all of a smaller train split)"
    )
    weight: float = Field(1.0, gt=0, description="of the imitation term beside the policy loss")
    target: str = Field("references", description="'references' or 'meta.<key>': where the captions to imitate are")


class Clip(Part):
    """Bounds of the importance ratio, 1 - low and 1 + high. They matter only when inner_epochs > 1."""

    low: float = Field(0.2, ge=0.0, lt=1.0, description="PPO and GRPO: 0.2")
    high: float = Field(0.2, ge=0.0, description="GRPO: 0.2; clip-higher of DAPO (arXiv 2503.14476): 0.28")


class Kl(Part):
    """Penalty for leaving the reference policy: the model as it was when the stage began. With adapters (`model.lora`)
    the reference is instead the model without its adapter: what earlier stages learned is penalized too.
    """

    beta: float = Field(0.0, ge=0.0, description="0 switches it off and saves the reference pass")
    estimator: Literal["k3"] = Field("k3", description="k3 is GRPO's (arXiv 2402.03300): never negative")


class StageBase(Part):
    """What every stage has."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="addresses the stage in overrides")
    steps: Count | None = Field(None, description="optimizer steps; or say epochs")
    epochs: float | None = Field(None, gt=0, description="passes over the train split; or say steps")
    images_per_step: Count = Field(16, description="P, images looked at in one step")
    learning_rate: float = Field(2e-4, gt=0, description="peak learning rate of AdamW")
    schedule: Literal["constant", "cosine", "linear"] = Field("constant", description="the last two fall towards 0")
    warmup_steps: int = Field(0, ge=0, description="steps over which the learning rate rises from 0")
    weight_decay: float = Field(0.0, ge=0.0, description="AdamW, on matrices only")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    normalizer: Literal["token", "sequence"] = Field(
        "token",
        description="token: all tokens weigh the same; sequence: all captions do (GRPO), which favors short ones",
    )
    micro_batch: Count | None = Field(None, description="images a forward and backward pass; null: all of the step")
    checkpoint_every: Count = Field(50, description="steps between checkpoints to resume from")
    eval_every: Count | None = Field(None, description="steps between probes on the eval split; null: none")
    patience: Count = Field(50, description="stop after so many idle steps in a row: none live, none new in the buffer")
    seed: int | None = Field(None, ge=0, description="null: from the recipe's seed and the place of the stage")

    @model_validator(mode="after")
    def _one_length(self) -> StageBase:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.name in ("base", "done") or self.name.startswith("state-"):
            raise ValueError(f"the name '{self.name}' is taken; choose another")
        return self


class SftStage(StageBase):
    """Imitation of given captions: warm-up, or plain supervised fine-tuning."""

    kind: Literal["sft"] = Field(description="supervised fine-tuning")
    captions_per_image: Count = Field(1, description="given captions an image, drawn without repeats")
    target: str = Field("references", description="'references' or 'meta.<key>': where the captions to imitate are")


class RlStage(StageBase):
    """Reinforcement learning, with or without imitation of what fails."""

    kind: Literal["rl", "grpo", "rsrs"] = Field(description="grpo: on_failed drop; rsrs: on_failed imitate; rl: say it")
    captions_per_image: int = Field(8, ge=2, description="G, captions sampled for each image: one group")
    sampling: Sampling = Field(default=Sampling(), description="how captions are drawn")
    advantage: Literal["grpo", "dr_grpo", "rloo", "gdpo"] = Field(
        "grpo", description="how rewards of a group become a signal; gdpo for several rewards"
    )
    clip: Clip = Field(default=Clip(), description="bounds of the importance ratio")
    inner_epochs: Count = Field(1, description="optimizer steps on the captions of one step; 1 is on-policy")
    kl: Kl = Field(default=Kl(), description="penalty for leaving the reference policy (see below)")
    on_failed: Literal["imitate", "drop"] | None = Field(None, description="what becomes of failed groups; see kind")
    on_saturated: Literal["drop"] = Field("drop", description="groups without any spread teach nothing")
    imitation: Imitation = Field(default=Imitation(), description="how failed images are imitated")
    mask_truncated: bool = Field(False, description="captions that were cut off do not enter the loss (DAPO)")
    rollout_batch: Count | None = Field(None, description="images encoded and sampled at once; null: all of the step")

    @model_validator(mode="after")
    def _preset(self) -> RlStage:
        preset = {"grpo": "drop", "rsrs": "imitate"}.get(self.kind)
        if self.on_failed is None:
            object.__setattr__(self, "on_failed", preset or "drop")
        elif preset not in (None, self.on_failed):
            raise ValueError(f"kind {self.kind} means on_failed: {preset}; for {self.on_failed} use kind: rl")
        if self.sampling.temperature == 0:
            raise ValueError("sampling.temperature is 0: all captions of a group would be the same; use 1.0")
        return self


Stage = Annotated[SftStage | RlStage, Field(discriminator="kind")]


class Evaluation(Part):
    """How stages are measured; training never depends on it."""

    scorers: list[str] = Field(default_factory=lambda: ["tts", "length"], description="scorers of the report")
    options: dict[str, dict[str, Any]] = Field(default_factory=dict, description="options by scorer name")
    sampling: Sampling = Field(default=Sampling(temperature=0.0), description="greedy by default")
    probe_limit: Count = Field(100, description="images of a probe (eval_every)")
    bootstrap: Count = Field(1000, description="resamples of the confidence intervals")
    batch_size: Count = Field(32, description="images captioned at once")


class Recipe(Part):
    """A whole run: model, data, rewards, stages, evaluation."""

    name: str = Field(description="what the run is called")
    seed: int = Field(0, ge=0, description="everything random follows from it")
    model: Model = Field(default=Model(), description="the captioner that learns")
    data: Data = Field(description="what to learn from")
    rewards: dict[str, Reward] = Field(default_factory=dict, description="rewards by name; rl stages need at least one")
    stages: list[Stage] = Field(min_length=1, description="in order; each goes on from the one before")
    evaluation: Evaluation = Field(default=Evaluation(), description="how stages are measured")

    @field_validator("rewards", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """`tts:` alone and `tts: 0.5` (a weight) are short forms."""
        if not isinstance(value, dict):
            return value
        return {k: {} if v is None else {"weight": v} if isinstance(v, (int, float)) else v for k, v in value.items()}

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages: names must be unique, got {', '.join(names)}")
        for stage in self.stages:
            if isinstance(stage, SftStage):
                continue
            if not any(reward.weight != 0 for reward in self.rewards.values()):
                raise ValueError(f"stage '{stage.name}' learns from rewards: give at least one with a weight")
            if stage.on_failed == "imitate" and not any(reward.gate for reward in self.rewards.values()):
                raise ValueError(f"stage '{stage.name}' imitates failed images: mark a reward with gate: true")
        return self
