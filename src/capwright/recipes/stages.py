"""What a recipe can say about a stage: imitation, or reinforcement with or without it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from capwright.recipes.parts import Config, Count, SamplingConfig, Share, check_name

#: What `advantage` can be without plugins, and where it is.
ADVANTAGES = {
    name: f"capwright.training.advantages:{name}"
    for name in ("grpo", "dr_grpo", "rloo", "gdpo", "scst", "mean_baseline")
}


class Imitation(Config):
    """What failed images do under `on_failed: imitate`."""

    batch: Count = Field(
        16, description="the buffer joins the loss when it holds so many images (or all of a smaller train split)"
    )
    weight: float = Field(1.0, gt=0, description="of the imitation term beside the policy loss")
    unit: Literal["image", "term"] = Field(
        "image", description="what fails: an image whose captions all do, or also one of whose names none of them says"
    )
    tokens: Literal["caption", "names"] = Field(
        "caption", description="what is imitated of a caption: all of it, or only the names that are right"
    )
    captions: Count = Field(1, description="given captions an image, drawn without repeats")
    phi: bool = Field(False, description="tokens weigh p (1 - p) in the imitation term (CHORD, arXiv 2508.11408)")
    target: str = Field("references", description="'references' or 'meta.<key>': where the captions to imitate are")


class Clip(Config):
    """Bounds of the importance ratio, 1 - low and 1 + high. They matter only when inner_epochs > 1."""

    low: float = Field(0.2, ge=0.0, lt=1.0, description="PPO and GRPO: 0.2")
    high: float = Field(0.2, ge=0.0, description="GRPO: 0.2; clip-higher of DAPO (arXiv 2503.14476): 0.28")


class Kl(Config):
    """Penalty for leaving the reference policy: the model as it was when the stage began, with its adapter where it has
    one (`model.lora`). It looks at the tokens that are learned from: under `credit: names` those of names, and of
    demonstrations only where they teach.
    """

    beta: float = Field(0.0, ge=0.0, description="0 switches it off and saves the reference pass")
    estimator: Literal["k1", "k2", "k3"] = Field("k3", description="k3 is GRPO's (arXiv 2402.03300): never negative")
    place: Literal["loss", "reward"] = Field(
        "loss", description="reward: the sum over a caption's tokens is taken off its summed reward (not with gdpo)"
    )


class StageBase(Config):
    """What every stage has."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="addresses the stage in overrides")
    steps: Count | None = Field(None, description="optimizer steps; or say epochs")
    epochs: float | None = Field(None, gt=0, description="passes over the train split; or say steps")
    start_from: str | None = Field(
        None, description="'base' or an earlier stage: go on from there, as a control does; null: from the stage before"
    )
    images_per_step: Count = Field(16, description="P, images looked at in one step")
    learning_rate: float = Field(2e-4, gt=0, description="peak learning rate of AdamW")
    schedule: Literal["constant", "cosine", "linear"] = Field("constant", description="the last two fall towards 0")
    warmup_steps: int = Field(0, ge=0, description="steps over which the learning rate rises from 0")
    weight_decay: float = Field(0.0, ge=0.0, description="AdamW, on matrices only")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    order: str = Field(
        "shuffled", description="'shuffled', 'given', or 'meta.<key>': the first pass from its lowest to highest value"
    )
    normalizer: Literal["token", "sequence", "constant"] = Field(
        "token",
        description="token: all tokens weigh the same; sequence: all captions do (GRPO), which favors short ones; "
        "constant: nothing is divided by lengths (Dr.GRPO)",
    )
    micro_batch: Count | None = Field(None, description="images a forward and backward pass; null: all of the step")
    micro_tokens: Count | None = Field(
        None, description="tokens a forward and backward pass, image and captions together, longest groups first"
    )
    checkpoint_every: Count = Field(50, description="steps between checkpoints to resume from")
    eval_every: Count | None = Field(None, description="steps between probes on the eval split; null: none")
    patience: Count = Field(50, description="stop after so many idle steps in a row: none live, none new in the buffer")
    seed: int | None = Field(None, ge=0, description="null: from the recipe's seed and the place of the stage")

    @model_validator(mode="after")
    def _one_length(self) -> StageBase:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.order not in ("shuffled", "given") and not self.order.startswith("meta."):
            raise ValueError(f"order '{self.order}': use 'shuffled', 'given' or 'meta.<key>'")
        if self.name in ("base", "done") or self.name.startswith(("state-", "start-", "reference-")):
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
    captions_per_image: Count = Field(8, description="G, captions sampled for each image: one group")
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="how captions are drawn")
    advantage: str = Field(
        "grpo",
        description="how rewards of a group become a signal: grpo, dr_grpo, rloo, gdpo (for several rewards), scst, "
        "mean_baseline, or one of a plugin",
    )
    whiten: bool = Field(True, description="gdpo: the last step, divided by the spread over the whole step (eq. 6)")
    baseline_memory: float = Field(0.9, ge=0.0, lt=1.0, description="of the running mean of advantage: mean_baseline")
    surrogate: Literal["clip", "reinforce"] = Field("clip", description="clip: PPO's and GRPO's; reinforce: no ratio")
    clip: Clip = Field(default=Clip(), description="bounds of the importance ratio")
    inner_epochs: Count = Field(1, description="optimizer steps on the captions of one step; 1 is on-policy")
    kl: Kl = Field(default=Kl(), description="penalty for leaving the reference policy (see below)")
    on_failed: Literal["imitate", "drop", "resample"] | None = Field(
        None, description="what becomes of failed groups; see kind. resample (DAPO): further images in their place"
    )
    resample_rounds: Count = Field(3, description="so often a step may look at further images for want of live groups")
    on_saturated: Literal["drop", "keep"] | None = Field(
        None, description="groups without any spread; null: keep with scst and mean_baseline, where they can teach"
    )
    max_failures: Share = Field(
        0.5, description="stop when more captions than this share got no reward because the scorer raised or timed out"
    )
    imitation: Imitation = Field(default=Imitation(), description="how failed images are imitated")
    demonstrations: list[Literal["reference", "corrected", "relabeled"]] = Field(
        default_factory=list,
        description="further members of each group: its best reference; the same with the annotated names in place of "
        "vague words; its best sampled caption with them",
    )
    demonstration_weight: float = Field(1.0, gt=0, description="advantages of demonstrations are multiplied by this")
    credit: Literal["caption", "names"] = Field(
        "caption", description="tokens that the advantage reaches: all, or those of names, right, wrong and vague ones"
    )
    mask_truncated: bool = Field(False, description="captions that were cut off do not enter the loss (DAPO)")
    rollout_batch: Count | None = Field(None, description="images encoded and sampled at once; null: all of the step")

    @property
    def group_size(self) -> int:
        """Captions of an image that are learned from together: sampled ones and demonstrations."""
        return self.captions_per_image + len(self.demonstrations)

    @property
    def shows_references(self) -> bool:
        """Whether given captions, which may be of any length, are members of the groups."""
        return bool({"reference", "corrected"} & set(self.demonstrations))

    @property
    def needs_names(self) -> str | None:
        """The first key that only works with a reward that knows where in a caption the names are."""
        keys = {
            "demonstrations": bool({"relabeled", "corrected"} & set(self.demonstrations)),
            "credit": self.credit == "names",
            "imitation.unit": self.imitation.unit == "term",
            "imitation.tokens": self.imitation.tokens == "names",
        }
        return next((key for key, needed in keys.items() if needed), None)

    @field_validator("advantage")
    @classmethod
    def _known_advantage(cls, value: str, info: ValidationInfo) -> str:
        return check_name("advantage", value, info, ADVANTAGES)

    @model_validator(mode="after")
    def _preset(self) -> RlStage:
        preset = {"grpo": "drop", "rsrs": "imitate"}.get(self.kind)
        if self.on_failed is None:
            object.__setattr__(self, "on_failed", preset or "drop")
        elif preset not in (None, self.on_failed):
            raise ValueError(f"kind {self.kind} means on_failed: {preset}; for {self.on_failed} use kind: rl")
        if self.on_failed != "imitate":
            for key, usual in (("unit", "image"), ("tokens", "caption")):
                if (given := getattr(self.imitation, key)) != usual:
                    raise ValueError(f"imitation.{key}: {given} does nothing with on_failed: {self.on_failed}")
        if len(set(self.demonstrations)) < len(self.demonstrations):
            raise ValueError(f"demonstrations names one twice: {', '.join(self.demonstrations)}")
        outside = self.advantage in ("scst", "mean_baseline")
        if self.on_saturated is None:
            object.__setattr__(self, "on_saturated", "keep" if outside else "drop")
        if self.captions_per_image == 1 and not outside and self.advantage in ADVANTAGES:
            raise ValueError(f"captions_per_image is 1, but {self.advantage} compares captions: give 2 or more")
        if self.kl.beta and self.kl.place == "reward" and self.advantage == "gdpo":
            raise ValueError("kl.place: reward does not go with gdpo, which would normalize it; use kl.place: loss")
        if self.surrogate == "reinforce" and self.inner_epochs > 1:
            raise ValueError("surrogate: reinforce has no ratio, so captions are good for one step: inner_epochs: 1")
        if self.sampling.temperature == 0:
            raise ValueError("sampling.temperature is 0: all captions of a group would be the same; use 1.0")
        return self


Stage = Annotated[SftStage | RlStage, Field(discriminator="kind")]
