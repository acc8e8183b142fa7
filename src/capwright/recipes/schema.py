"""What a recipe can say: every key, its default and its meaning.

A recipe is one YAML file. These models are the only place where its keys are defined; `docs/recipes.md` is written from
the descriptions below. Reading files, overrides and error messages live in `capwright.recipes.files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from capwright import types

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
#: How long a judge may be silent, by default: recipes know no assistant. A test holds them to those of `Chat`.
JUDGE_SECONDS = {"patience": 60.0, "call_seconds": 120.0}


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


class Cache(Part):
    """Processed pictures, and what a frozen vision tower says about them, are kept so that no picture is decoded,
    processed or looked at twice in a run."""

    memory_gb: float = Field(2.0, ge=0.0, description="so much is kept, in CPU memory, by each process; 0: nothing")
    folder: str | None = Field(None, description="where to put what does not fit; null: it is made again")


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
    cache: Cache = Field(default=Cache(), description="see below")
    attention: Literal["auto", "sdpa", "eager", "flex"] = Field(
        "auto", description="implementation; flex: long groups on a GPU without a dense mask (untested on hardware)"
    )
    compile: bool = Field(False, description="torch.compile the language model for learning; slow to begin")
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


#: What a caption can be measured by besides rewards: its words, its tokens, its words over those of the references.
QUANTITIES = ("words", "tokens", "length_ratio")
Quantity = Literal["words", "tokens", "length_ratio"]


class OnlyIf(Part):
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


class Overlong(Part):
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


class Reward(Part):
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
    def _waits_for_outages(self) -> Reward:
        """A judge that is down must end the run; a timeout before that would make failed rewards of its outage."""
        for name, one in self.options.items():
            if self.timeout is None or not isinstance(one, Mapping) or not str(one.get("name")).startswith("http"):
                continue
            limits = {key: one.get(key, value) for key, value in JUDGE_SECONDS.items()}
            if not all(isinstance(value, (int, float)) for value in limits.values()):
                continue  # the assistant says what is wrong with it
            if self.timeout <= (noticed := sum(limits.values())):
                raise ValueError(
                    f"timeout {self.timeout:g} is no longer than the {noticed:g} s that an outage of {one['name']} may "
                    f"take until it is noticed ({' + '.join(f'{key} {value:g}' for key, value in limits.items())} of "
                    f"options.{name}); it would end in unknown rewards instead of a stop. Raise timeout, or lower those"
                )
        return self

    @model_validator(mode="after")
    def _length_is_no_gate(self) -> Reward:
        if self.overlong is not None:
            others = ("scorer", "output", "range", "options", "margin")
            given = [name for name in others if getattr(self, name) not in (None, {})]
            given += ["gate"] if self.gate and "gate" in self.model_fields_set else []
            if given:
                raise ValueError(f"overlong is a reward of its own and no gate; leave {', '.join(given)} out")
            object.__setattr__(self, "gate", False)
        return self


class Imitation(Part):
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


class Clip(Part):
    """Bounds of the importance ratio, 1 - low and 1 + high. They matter only when inner_epochs > 1."""

    low: float = Field(0.2, ge=0.0, lt=1.0, description="PPO and GRPO: 0.2")
    high: float = Field(0.2, ge=0.0, description="GRPO: 0.2; clip-higher of DAPO (arXiv 2503.14476): 0.28")


class Kl(Part):
    """Penalty for leaving the reference policy: the model as it was when the stage began. With adapters (`model.lora`)
    the reference is instead the model without its adapter: what earlier stages learned is penalized too. It looks at
    the tokens that are learned from: under `credit: names` those of names, and of demonstrations only where they teach.
    """

    beta: float = Field(0.0, ge=0.0, description="0 switches it off and saves the reference pass")
    estimator: Literal["k1", "k2", "k3"] = Field("k3", description="k3 is GRPO's (arXiv 2402.03300): never negative")
    place: Literal["loss", "reward"] = Field(
        "loss", description="reward: the sum over a caption's tokens is taken off its summed reward (not with gdpo)"
    )


class StageBase(Part):
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
    sampling: Sampling = Field(default=Sampling(), description="how captions are drawn")
    advantage: Literal["grpo", "dr_grpo", "rloo", "gdpo", "scst", "mean_baseline"] = Field(
        "grpo", description="how rewards of a group become a signal; gdpo for several rewards"
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
    demonstration_weight: float = Field(1.0, gt=0, description="their advantages are multiplied by this")
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

    @model_validator(mode="after")
    def _preset(self) -> RlStage:
        preset = {"grpo": "drop", "rsrs": "imitate"}.get(self.kind)
        if self.on_failed is None:
            object.__setattr__(self, "on_failed", preset or "drop")
        elif preset not in (None, self.on_failed):
            raise ValueError(f"kind {self.kind} means on_failed: {preset}; for {self.on_failed} use kind: rl")
        if len(set(self.demonstrations)) < len(self.demonstrations):
            raise ValueError(f"demonstrations names one twice: {', '.join(self.demonstrations)}")
        outside = self.advantage in ("scst", "mean_baseline")
        if self.on_saturated is None:
            object.__setattr__(self, "on_saturated", "keep" if outside else "drop")
        if self.captions_per_image == 1 and not outside:
            raise ValueError(f"captions_per_image is 1, but {self.advantage} compares captions: give 2 or more")
        if self.kl.beta and self.kl.place == "reward" and self.advantage == "gdpo":
            raise ValueError("kl.place: reward does not go with gdpo, which would normalize it; use kl.place: loss")
        if self.surrogate == "reinforce" and self.inner_epochs > 1:
            raise ValueError("surrogate: reinforce has no ratio, so captions are good for one step: inner_epochs: 1")
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
    interval: Literal["jackknife", "percentile", "bca"] = Field(
        "jackknife", description="how confidence intervals are made; the last two by the bootstrap"
    )
    bootstrap: Count = Field(1000, description="resamples of percentile and bca intervals")
    batch_size: Count = Field(32, description="images captioned at once")


class Recipe(Part):
    """A whole run: model, data, rewards, stages, evaluation."""

    name: str = Field(description="what the run is called")
    seed: int = Field(0, ge=0, description="everything random follows from it")
    model: Model = Field(default=Model(), description="the captioner that learns")
    data: Data = Field(description="what to learn from")
    rewards: dict[str, Reward] = Field(default_factory=dict, description="rewards by name; rl stages need at least one")
    stages: list[Stage] = Field(min_length=1, description="in order; each goes on from the one before, or `start_from`")
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
