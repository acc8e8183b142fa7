"""RSRS inside TRL's `GRPOTrainer`, for those who need its vLLM or DeepSpeed: our rewards, routing and imitation.

    functions = reward_functions(make_rewards(recipe, samples, vocabulary), samples)
    RSRSTrainer(model, functions, GRPOConfig(...), dataset(samples, "Describe this image.")).train()

Every method calls TRL's own and changes what came out; none copies one. Two things stay TRL's: every image is processed
for every caption of its group, twice, and captions that teach nothing still pass through the model, with weight 0.
`capwright.training.Trainer` does neither.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from capwright.recipes.stages import Imitation
from capwright.training import advantages as methods
from capwright.training.advantages import route
from capwright.training.buffer import Buffer
from capwright.training.demonstrations import targets
from capwright.training.losses import imitation_loss, token_weights
from capwright.training.rewards import Rewards, View
from capwright.types import Caption, DataError, RecipeError, RunError, Sample

try:
    from datasets import Dataset
    from trl import GRPOTrainer, prepare_multimodal_messages
except ImportError as error:
    raise RunError(f"capwright.training.trl: {error}; install TRL with: pip install 'capwright[trl]'") from error

#: Losses that are a mean over captions rather than tokens: it is taken over the captions of live groups instead.
BY_CAPTION = ("grpo", "dr_grpo", "sapo", "luspo")
BY_TOKEN = ("dapo", "cispo", "vespo")
STATE = "rsrs.json"
LOG = logging.getLogger("capwright")


def dataset(samples: Sequence[Sample], prompt: str) -> Dataset:
    """The columns TRL and we read: `prompt` (a conversation), `images` (paths) and `sample_id`.

    Paths, since TRL copies and gathers whatever is in a prompt: images would travel to every process at every step.
    """
    said = [{"role": "user", "content": prompt}]
    return Dataset.from_list(
        [{"prompt": said, "images": [str(path) for path in s.images], "sample_id": s.id} for s in samples]
    )


class _Samples(dict[str, Sample]):
    def __missing__(self, name: str) -> Sample:
        what = f"sample_id {name} is not among the samples given to reward_functions"
        raise DataError(f"{what}; make TRL's dataset with capwright.training.trl.dataset from the same samples")


@dataclass
class _Judge:
    """All rewards of a batch at once: TRL asks for them one by one, with the same list of completions."""

    rewards: Rewards
    samples: _Samples
    ends: frozenset[int]
    last: tuple[Any, Tensor] = (None, torch.empty(0))

    def __call__(self, completions: list[Any], completion_ids: list[list[int]], sample_ids: list[str]) -> Tensor:
        """Rewards `[B, K]` of B completions, NaN where unknown."""
        if self.last[0] is not completions:
            captions = [[self._caption(*said)] for said in zip(completions, completion_ids)]
            measured = self.rewards([self.samples[name] for name in sample_ids], captions)
            for name, why in measured.why.items():
                LOG.warning("reward '%s' is unknown for %d captions: %s", name, measured.failures[name], why)
            self.last = (completions, measured.values[:, 0])
        return self.last[1]

    def _caption(self, completion: Any, ids: list[int]) -> Caption:
        text = completion if isinstance(completion, str) else completion[-1]["content"]
        cut = bool(self.ends) and (not ids or ids[-1] not in self.ends)
        return Caption(text.strip(), tuple(ids), None, "length" if cut else "stop")


class RewardFunction:
    """One reward as TRL wants it: columns in, a list of floats out, None where unknown."""

    def __init__(self, judge: _Judge, index: int) -> None:
        self.judge, self.index = judge, index
        self.__name__ = list(judge.rewards.views)[index]

    def __call__(self, completions: list[Any], completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        """B rewards. Raises DataError when the dataset's column `sample_id` is missing or names strangers."""
        names = columns.get("sample_id", ["(none)"] * len(completions))
        column = self.judge(completions, completion_ids, names)[:, self.index]
        return [None if value != value else value for value in column.tolist()]


def reward_functions(rewards: Rewards | View, samples: Sequence[Sample], ends: Sequence[int] = ()) -> list[Any]:
    """Rewards as reward functions of any TRL trainer, in their order; a single view becomes a list of one.

    Args:
        samples: where `sample_id` is looked up.
        ends: ids of the end tokens (`model.generation_config.eos_token_id`). With them, captions without one count as
            cut off (finish "length"); without, all count as finished.
    """
    if not isinstance(rewards, Rewards):
        scorer = getattr(rewards, "scorer", None)
        rewards = Rewards({scorer.spec.name if scorer else "reward": rewards}, (1.0,), (True,), (0.0,))
    judge = _Judge(rewards, _Samples({sample.id: sample for sample in samples}), frozenset(ends))
    return [RewardFunction(judge, k) for k in range(len(rewards.views))]


class RSRSTrainer(GRPOTrainer):
    """GRPOTrainer that learns from live groups only and imitates experts on failed ones (arXiv 2604.01941).

    Takes what GRPOTrainer takes, with `reward_funcs` made by one call of `reward_functions` (gates, floors and weights
    come with them) and `train_dataset` made by `dataset`. `multi_objective_aggregation="normalize_then_sum"` is GDPO;
    else `scale_rewards="group"` is GRPO and "none" Dr.GRPO. `reward_weights`, where given, replace ours.

    Several processes: groups may straddle them; all decide alike, because they decide on gathered rewards. Imitation
    joins the loss of the last micro-batch before an optimizer step, since under DeepSpeed a second backward would be a
    second step. A generation that taught nothing makes no update: AdamW would drift on its momentum.

    Args:
        imitation: when and how strongly failed images are imitated; see `imitation` in a recipe.
    Raises:
        RunError: rewards of others, or settings under which dead groups would count. DataError: data of others.
    """

    def __init__(self, *args: Any, imitation: Imitation | None = None, **named: Any) -> None:
        super().__init__(*args, **named)
        judges = [getattr(function, "judge", None) for function in self.reward_funcs]
        if not judges or judges[0] is None or any(judge is not judges[0] for judge in judges):
            raise RunError("RSRSTrainer: reward_funcs must be what one call of reward_functions returned")
        told = isinstance(self.train_dataset, Dataset) and "sample_id" in self.train_dataset.column_names
        names = self.train_dataset["sample_id"] if told else ["(none)"]
        self.judge: _Judge = judges[0]
        if self.loss_type not in BY_CAPTION + BY_TOKEN:
            raise RunError(f"RSRSTrainer: loss_type '{self.loss_type}' counts dead captions; use dapo, grpo or dr_grpo")
        if self.scale_rewards == "batch":
            raise RunError("RSRSTrainer: scale_rewards 'batch' lets dead groups scale live ones; use 'group' or 'none'")
        lasts = self.args.steps_per_generation * self.num_iterations / self.args.gradient_accumulation_steps
        if self.args.save_strategy == "steps" and self.args.save_steps % lasts:
            raise RunError(f"RSRSTrainer: save_steps must be a multiple of {lasts:g}, the steps a generation lasts")
        if self.args.reward_weights is None:
            self.reward_weights = torch.tensor(self.judge.rewards.weights)
        plain = methods.grpo if self.scale_rewards == "group" else methods.dr_grpo
        self.method = methods.gdpo if self.multi_objective_aggregation == "normalize_then_sum" else plain
        self.imitation = imitation or Imitation()
        own = {"unit": "image", "tokens": "caption", "captions": 1}
        if given := [key for key, value in own.items() if getattr(self.imitation, key) != value]:
            raise RecipeError(f"imitation.{given[0]}: not possible inside TRL, which samples; use capwright train")
        self.rows = {name: row for row, name in enumerate(names)}
        self.batch = min(self.imitation.batch, sum(bool(self._targets(name)) for name in self.rows))
        self.buffer = Buffer()
        self.learned = False  # since the last optimizer step

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        self._values = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        return self._values

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch, of which only live groups are left: the others have no advantage, no token and no share."""
        batch = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return batch
        values = self._values.double().cpu().view(-1, self.num_generations, len(self.reward_funcs))
        names = gather_object([row["sample_id"] for row in inputs])[:: self.num_generations]
        samples = [self.judge.samples[name] for name in names]
        weights = self.reward_weights.cpu().double()
        gates, floors = self.judge.rewards.gates, self.judge.rewards.floors_of(samples).float()  # rounded as by TRL
        summed = self.method is not methods.gdpo
        states = route(values, gates=gates, floors=floors, weights=weights.tolist(), summed=summed)
        signal = torch.zeros(values.shape[:2], dtype=torch.float64)
        if states.live.any():
            signal[states.live] = self.method(values[states.live], weights)
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        live = states.live.repeat_interleave(self.num_generations).chunk(world)[rank].to(self.accelerator.device)
        batch["advantages"] = signal.flatten().chunk(world)[rank].to(batch["advantages"])
        batch["completion_mask"] = batch["completion_mask"] * live[:, None]
        if "old_per_token_logps" in batch:  # where TRL scores nothing, new and old are 0: a ratio of 1, not infinity
            batch["old_per_token_logps"] = batch["old_per_token_logps"] * live[:, None]
        seen = batch["completion_mask"] * batch.get("tool_mask", 1)
        batch["num_items_in_batch"] = self.accelerator.gather(seen.sum()).sum()
        share = len(values) / max(1, int(states.live.sum())) if self.loss_type in BY_CAPTION else 1.0
        batch["rsrs_share"] = torch.tensor(share, device=live.device)
        self.buffer.add(sample for sample, failed in zip(samples, states.failed) if failed and self._targets(sample.id))
        for name, count in states.counts().items():
            self._metrics["train"][f"rsrs/{name}"].append(count)
        return batch

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **named: Any) -> Tensor:
        """TRL's loss over live groups, and before an optimizer step that of imitation when enough images wait."""
        loss = super().compute_loss(model, inputs, *args, **named)
        if not self.model.training:
            return loss
        loss = loss * inputs["rsrs_share"]
        self.learned = self.learned or bool(inputs["num_items_in_batch"] > 0)
        if self.accelerator.sync_gradients:
            names = self.buffer.take(self.batch) if len(self.buffer) >= self.batch else []
            if names:
                loss = loss + self.imitation.weight * self._imitation_loss(model, names)
                self.learned = True
            self._metrics["train"]["rsrs/imitated"].append(len(names))
            self._metrics["train"]["rsrs/buffer"].append(len(self.buffer))
        return loss

    def training_step(self, model: Any, *args: Any, **named: Any) -> Tensor:
        loss = super().training_step(model, *args, **named)
        if self.accelerator.sync_gradients:
            if not self.learned and self.accelerator.scaler is None:
                model.zero_grad()  # without gradients AdamW leaves the weights alone
            self.learned = False
        return loss

    def _imitation_loss(self, model: Any, names: list[str]) -> Tensor:
        """Mean negative log-likelihood of an expert caption's token, over all processes; each takes its part."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        part = names[rank::world]
        batch, mask = self._expert_batch(part or names[:1])  # all processes must call the model equally often
        tokens = batch["input_ids"][:, -mask.shape[1] :]
        logits = model(**batch, use_cache=False, logits_to_keep=mask.shape[1] + 1).logits[:, :-1].float()
        logprobs = logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        mask = mask & bool(part)
        weights = token_weights(mask, "token", int(self.accelerator.gather(mask.sum()).sum()))
        return imitation_loss(logprobs, world * weights, phi=self.imitation.phi)  # processes average their gradients

    def _expert_batch(self, names: list[str]) -> tuple[dict[str, Tensor], Tensor]:
        """Model inputs for prompts with an expert caption each, and which tokens `[N, T]` at their end are captions."""
        rows = [self.train_dataset[self.rows[name]] for name in names]
        asked = [prepare_multimodal_messages(row["prompt"], images=row["images"]) for row in rows]
        how: dict[str, Any] = {"add_generation_prompt": True, "chat_template": self.chat_template}
        how |= {"tokenize": True, "return_dict": True, "return_tensors": "pt", **self.chat_template_kwargs}
        padding = {"padding": True, "padding_side": "left"}
        batch = self.processing_class.apply_chat_template(asked, processor_kwargs=padding, **how)
        said = [self._expert_tokens(name) for name in names]
        tails = pad_sequence(said, batch_first=True, padding_value=self._tokenizer.pad_token_id)
        mask = pad_sequence([torch.ones_like(ids, dtype=torch.bool) for ids in said], batch_first=True)
        shape, device = batch["input_ids"].shape, self.accelerator.device
        for key, value in batch.items():  # what has one entry a token goes on over the caption
            if value.shape == shape:
                tail = {"input_ids": tails, "attention_mask": mask}.get(key, torch.zeros_like(tails))
                batch[key] = torch.cat([value, tail.to(value.dtype)], dim=1)
        return {key: value.to(device) for key, value in batch.items()}, mask.to(device)

    def _expert_tokens(self, name: str) -> Tensor:
        text = random.Random(f"{self.args.seed}/{self.state.global_step}/{name}").choice(self._targets(name))
        ids = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return torch.tensor([*ids, self._tokenizer.eos_token_id])

    def _targets(self, name: str) -> list[str]:
        return targets(self.judge.samples[name], self.imitation.target)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """The buffer first: a checkpoint that looks complete has it."""
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / STATE).write_text(json.dumps({"buffer": self.buffer.state_dict()}), encoding="utf-8")
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Transformers saves vision-language models under their old parameter names, does not find those again, warns,
        and would go on with the weights training began with (huggingface/transformers#43701)."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if isinstance(self.model, PreTrainedModel) and not self.is_fsdp_enabled:  # nor are adapters affected
            saved = type(self.model).from_pretrained(resume_from_checkpoint, dtype=self.model.dtype)
            self.model.load_state_dict(saved.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / STATE
        if not path.is_file():
            raise RunError(f"{path} is missing: RSRSTrainer did not write this checkpoint; start from its weights")
        self.buffer.load_state_dict(json.loads(path.read_text(encoding="utf-8"))["buffer"])
