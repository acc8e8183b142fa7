"""What RSRSTrainer relies on inside TRL, seam by seam. When one fails, TRL has changed: read its new code first."""

from __future__ import annotations

import inspect

import pytest
import torch
import transformers
import trl
from trl import GRPOConfig, GRPOTrainer

import tiny_models
import trl_toys
from capwright.training.trl import BY_CAPTION, BY_TOKEN, RSRSTrainer

VERSIONS = f"TRL {trl.__version__}, transformers {transformers.__version__}"

#: method: its parameters after self
SEAMS = {
    "_calculate_rewards": ["inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["inputs"],
    "_prepare_inputs": ["generation_batch"],
    "compute_loss": ["model", "inputs", "return_outputs", "num_items_in_batch"],
    "training_step": ["model", "inputs", "num_items_in_batch"],
    "_save_checkpoint": ["model", "trial"],
    "_get_output_dir": ["trial"],
    "_load_optimizer_and_scheduler": ["checkpoint"],
    "_load_from_checkpoint": ["resume_from_checkpoint", "model"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="module")
def model(folder):
    return tiny_models.write_llava(folder / "llava")


@pytest.fixture
def it(model, folder):
    given = trl_toys.rewards(trl_toys.says("e"), trl_toys.everywhere(float("nan")))
    return trl_toys.trainer(model, folder, given, kind=GRPOTrainer, num_iterations=2)


@pytest.mark.parametrize("name", SEAMS)
def test_signature(name):
    method = getattr(GRPOTrainer, name, None)
    assert method is not None, f"{VERSIONS}: GRPOTrainer has no {name} any more"
    found = list(inspect.signature(method).parameters)[1:]
    assert found == SEAMS[name], f"{VERSIONS}: GRPOTrainer.{name} takes {found}, RSRSTrainer expects {SEAMS[name]}"


def test_we_override_nothing_else():
    ours = {name for name, value in vars(RSRSTrainer).items() if inspect.isfunction(value)}
    shared = {name for name in ours if hasattr(GRPOTrainer, name)} - {"__init__"}
    assert shared <= set(SEAMS), f"{shared - set(SEAMS)} overrides {VERSIONS} and has no contract"


@pytest.mark.parametrize("name", ["_calculate_rewards", "_generate_and_score_completions"])
def test_trl_calls_the_seam_once_a_generation(it, name):
    calls = []
    inner = getattr(it, name)
    setattr(it, name, lambda *args: calls.append(args) or inner(*args))
    it.model.train()
    it._prepare_inputs([it.train_dataset[0]] * 4)
    assert len(calls) == 1, f"{VERSIONS}: {name} was called {len(calls)} times for one generation"


def test_rewards_are_one_table_with_nan_for_none(it):
    rows = [it.train_dataset[0]] * 4
    said = [[{"role": "assistant", "content": text}] for text in "eaea"]
    table = it._calculate_rewards(rows, [row["prompt"] for row in rows], said, [[5]] * 4)
    assert table.shape == (4, 2), f"{VERSIONS}: rewards have shape {list(table.shape)}, not [rows, rewards]"
    assert table[:, 0].tolist() == [1, 0, 1, 0], f"{VERSIONS}: rows are not in the order of the captions"
    assert table[:, 1].isnan().all(), f"{VERSIONS}: None is not NaN"


def test_keys_of_a_generation(it):
    it.model.train()
    batch = it._generate_and_score_completions([it.train_dataset[0]] * 4)
    for key in ("advantages", "completion_mask", "num_items_in_batch", "old_per_token_logps"):
        assert key in batch, f"{VERSIONS}: a generation has no '{key}', only {sorted(batch)}"
    shape = batch["completion_ids"].shape
    assert batch["advantages"].shape == shape[:1], f"{VERSIONS}: advantages {list(batch['advantages'].shape)}"
    assert batch["completion_mask"].shape == batch["old_per_token_logps"].shape == shape, VERSIONS
    assert batch["num_items_in_batch"] == batch["completion_mask"].sum(), f"{VERSIONS}: num_items_in_batch"


def test_a_number_of_ours_travels_with_every_slice(it):
    it.model.train()
    inner = it._generate_and_score_completions
    it._generate_and_score_completions = lambda rows: inner(rows) | {"rsrs_share": torch.tensor(3.0)}
    assert it._prepare_inputs([it.train_dataset[0]] * 4)["rsrs_share"] == 3.0, VERSIONS


def test_masked_captions_have_no_loss(it):
    it.model.train()
    batch = it._generate_and_score_completions([it.train_dataset[0]] * 4)
    batch |= {"completion_mask": batch["completion_mask"] * 0, "advantages": torch.ones(4)}
    batch |= {"old_per_token_logps": batch["old_per_token_logps"] * 0, "num_items_in_batch": torch.tensor(0)}
    it.current_gradient_accumulation_steps = 1
    loss = it.compute_loss(it.model, batch)
    assert loss == 0, f"{VERSIONS}: captions without tokens have a loss of {float(loss)}"
    assert torch.autograd.grad(loss, it.model.lm_head.weight)[0].abs().max() == 0, VERSIONS


def test_the_loss_is_not_divided_again():
    assert GRPOTrainer.loss_is_scaled_for_ga is True, f"{VERSIONS}: the imitation term would be scaled"


def test_losses_we_know(it):
    said = inspect.getsource(GRPOTrainer._compute_loss)
    for name in BY_CAPTION + BY_TOKEN:
        assert f'"{name}"' in said, f"{VERSIONS}: no loss_type {name}"


def test_logits_come_back_without_the_fused_head(it):
    rows = [[{"role": "user", "content": [{"type": "image", "image": it.train_dataset[0]["images"][0]}]}]]
    batch = it.processing_class.apply_chat_template(rows, tokenize=True, return_dict=True, return_tensors="pt")
    out = it.model(**batch, use_cache=False, logits_to_keep=3)
    assert getattr(out, "logits", None) is not None, f"{VERSIONS}: model(**batch) returns no logits"
    assert out.logits.shape[1] == 3, f"{VERSIONS}: logits_to_keep=3 keeps {out.logits.shape[1]}"


@pytest.mark.parametrize(
    "name",
    ["reward_funcs", "reward_weights", "num_generations", "num_iterations", "loss_type", "scale_rewards",
     "multi_objective_aggregation", "chat_template", "chat_template_kwargs", "processing_class", "_tokenizer",
     "_metrics", "train_dataset", "state", "accelerator"],
)  # fmt: skip
def test_attributes(it, name):
    assert hasattr(it, name), f"{VERSIONS}: GRPOTrainer has no attribute {name}"


@pytest.mark.parametrize("name", ["judge", "method", "imitation", "rows", "batch", "buffer", "learned", "_values"])
def test_our_own_attributes_are_nobody_elses(it, name):
    assert not hasattr(it, name), f"{VERSIONS}: GRPOTrainer.{name} exists, RSRSTrainer would overwrite it"


@pytest.mark.parametrize(
    "name",
    ["reward_weights", "steps_per_generation", "gradient_accumulation_steps", "save_steps", "save_strategy", "seed",
     "should_save"],
)  # fmt: skip
def test_settings(name):
    assert hasattr(GRPOConfig, name) or name in GRPOConfig.__dataclass_fields__, f"{VERSIONS}: GRPOConfig.{name}"
