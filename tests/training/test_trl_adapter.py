"""RSRSTrainer on a tiny LLaVA: it learns what it should, leaves alone what it should, and can be resumed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig
from trl import GRPOTrainer

import tiny_models
import trl_toys
from capwright.recipes.stages import Imitation
from capwright.scorers import Corpus, RewardView, get_scorer
from capwright.training.trl import RSRSTrainer, dataset, reward_functions
from capwright.types import Caption, DataError, RunError
from places import HELPERS
from trl_toys import everywhere, rewards, says, trainer, weights


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_models.write_llava(tmp_path_factory.mktemp("llava"))


def logged(it, key):
    return [row[f"rsrs/{key}"] for row in it.state.log_history if f"rsrs/{key}" in row]


# rewards ------------------------------------------------------------------------------------------------------------


def ask(function, texts, names, ids=None):
    said = [[{"role": "assistant", "content": text}] for text in texts]
    return function(prompts=None, completions=said, completion_ids=ids or [[5, 2]] * len(texts), sample_id=names)


def test_rewards_are_asked_for_once_and_unknown_is_none(tmp_path):
    calls = []

    def view(samples, captions):
        calls.append([s.id for s in samples])
        values = [[float("nan") if c.text == "?" else float(len(c.text)) for c in group] for group in captions]
        return trl_toys.Values(values)

    functions = reward_functions(rewards(view, says("a")), trl_toys.samples(tmp_path))
    completions = [[{"role": "assistant", "content": text}] for text in ("a", "?")]
    asked = dict(prompts=None, completions=completions, completion_ids=[[1], [2]], sample_id=["s1", "s2"])
    assert [f.__name__ for f in functions] == ["r0", "r1"]
    assert [f(**asked) for f in functions] == [[1.0, None], [1.0, 0.0]]
    assert calls == [["s1", "s2"]]


def test_a_scorer_is_a_reward_function(tmp_path):
    data = trl_toys.samples(tmp_path)
    scorer = get_scorer("length")
    view = RewardView(scorer, scorer.prepare(Corpus(data, {})), "words", scale=(0, 10))
    (function,) = reward_functions(view, data)
    own = view(data[:2], [[Caption("a geoboard")], [Caption("one two three")]]).values.flatten().tolist()
    assert function.__name__ == "length"
    assert ask(function, ["a geoboard", " one two three "], ["s0", "s1"]) == own


def test_captions_without_an_end_are_cut_off(tmp_path):
    def view(samples, captions):
        return trl_toys.Values([[float(c.finish == "length") for c in group] for group in captions])

    data = trl_toys.samples(tmp_path)
    ids = [[5, 2], [5, 6], []]
    assert ask(reward_functions(view, data, ends=[2])[0], ["a"] * 3, ["s0"] * 3, ids) == [0.0, 1.0, 1.0]
    assert ask(reward_functions(view, data)[0], ["a"] * 3, ["s0"] * 3, ids) == [0.0, 0.0, 0.0]


def test_a_view_that_raises_makes_captions_unknown_and_is_named(tmp_path, caplog):
    def broken(samples, captions):
        raise OSError("the judge is down")

    functions = reward_functions(rewards(broken), trl_toys.samples(tmp_path))
    assert ask(functions[0], ["a", "b"], ["s0", "s1"]) == [None, None]
    assert "reward 'r0' is unknown for 2 captions: OSError: the judge is down" in caplog.text


def test_rows_must_name_known_samples(tmp_path):
    functions = reward_functions(rewards(says("a")), trl_toys.samples(tmp_path))
    with pytest.raises(DataError, match="s99 is not among the samples given to reward_functions; make TRL's dataset"):
        ask(functions[0], ["a"], ["s99"])
    with pytest.raises(DataError, match="sample_id .none. is not among"):
        functions[0](prompts=None, completions=["a"], completion_ids=[[5]])


def test_rows_hold_paths_not_images(tmp_path):
    rows = dataset(trl_toys.samples(tmp_path, 2), "Say it.")
    assert rows[1] == {
        "prompt": [{"role": "user", "content": "Say it."}],
        "images": [str(tmp_path / "1.png")],
        "sample_id": "s1",
    }


def test_several_images_of_a_sample_stay_together(model, tmp_path):
    data = trl_toys.samples(tmp_path, 3)
    data = [replace(data[0], more_images=(data[2].image,)), data[1]]
    functions = reward_functions(rewards(says("geoboard")), data)
    args = trl_toys.config(tmp_path / "out", max_steps=2)
    it = RSRSTrainer(str(model), functions, args, dataset(data, "Say it."), imitation=Imitation(batch=2))
    it.train()
    assert logged(it, "imitated") == [0, 2]
    batch, _ = it._expert_batch(["s0", "s1"])
    assert batch["pixel_values"].shape[0] == 3


# learning -----------------------------------------------------------------------------------------------------------


def test_failed_images_learn_what_the_expert_says(model, tmp_path):
    it = trainer(model, tmp_path, rewards(says("geoboard")), Imitation(batch=3), max_steps=9, learning_rate=3e-2)
    names = ["s0", "s1", "s2"]
    before = expert_loss(it, names)
    it.train()
    assert logged(it, "failed") == [1] * 9
    assert logged(it, "imitated") == [0, 0, 3] * 3
    assert logged(it, "buffer") == [1, 2, 0] * 3
    assert expert_loss(it, names) < before - 1


@torch.no_grad()
def expert_loss(it, names):
    it.model.eval()
    return float(it._imitation_loss(it.model, names))


def test_the_expert_prompt_is_the_prompt_of_reinforcement(model, tmp_path):
    it = trainer(model, tmp_path, rewards(says("geoboard")))
    batch, mask = it._expert_batch(["s0", "s1"])
    prompt = [[{"role": "user", "content": [{"type": "image", "image": row["images"][0]},
               {"type": "text", "text": trl_toys.PROMPT}]}] for row in it.train_dataset.select([0, 1])]  # fmt: skip
    width = mask.shape[1]
    assert batch["input_ids"][:, :-width].tolist() == it._tokenize_prompts(prompt)[0]
    said = it._tokenizer.batch_decode(batch["input_ids"][:, -width:])
    assert said == ["A geoboard is on the left.</s>"] * 2
    assert batch["attention_mask"].all()
    assert batch["pixel_values"].shape[0] == 2


def test_live_groups_learn_from_their_rewards(model, tmp_path):
    def long_words(samples, captions):
        return trl_toys.Values([[float("e" in c.text) for c in group] for group in captions])

    it = trainer(
        model, tmp_path, rewards(long_words), per_device_train_batch_size=24, num_generations=8, max_steps=12,
        learning_rate=3e-2, max_completion_length=4,
    )  # fmt: skip
    it.train()
    found = [row["reward"] for row in it.state.log_history if "reward" in row]
    assert sum(found[-3:]) / 3 > found[0] + 0.3
    assert max(logged(it, "live")) > 0


@pytest.mark.parametrize(("accumulation", "per_generation", "iterations"), [(2, 2, 1), (2, 4, 1), (1, 4, 2), (4, 4, 1)])
def test_imitation_once_an_update_however_the_step_is_cut(model, tmp_path, accumulation, per_generation, iterations):
    """An image waits before every update: never two batches at once, and never a backward of its own, which under
    DeepSpeed would be a second step."""
    it = trainer(
        model, tmp_path, rewards(says("geoboard")), Imitation(batch=1), gradient_accumulation_steps=accumulation,
        steps_per_generation=per_generation, num_iterations=iterations, max_steps=4,
    )  # fmt: skip
    backwards, inner = [], it.accelerator.backward
    it.accelerator.backward = lambda *args, **named: backwards.append(1) or inner(*args, **named)
    it.train()
    assert len(backwards) == 4 * accumulation
    assert logged(it, "imitated") == [1] * 4
    assert it.state.log_history[-1]["train_loss"] > 1


def test_adapters_and_checkpointing(model, tmp_path):
    data, given = trl_toys.samples(tmp_path), rewards(says("geoboard"))

    def run(steps, resume=None):
        args = trl_toys.config(
            tmp_path / "out", gradient_checkpointing=True, save_strategy="steps", save_steps=2, max_steps=steps
        )
        lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        functions = reward_functions(given, data)
        it = RSRSTrainer(
            str(model), functions, args, dataset(data, "Say it."), peft_config=lora, imitation=Imitation(batch=1)
        )
        before = weights(it)
        it.train(resume_from_checkpoint=resume)
        assert not torch.equal(before, weights(it))
        return it

    whole = run(4)
    assert logged(whole, "imitated") == [1] * 4
    second = run(4, str(tmp_path / "out" / "checkpoint-2"))
    torch.testing.assert_close(weights(second), weights(whole), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("constant", [0.7, float("nan")])
def test_groups_that_teach_nothing_change_nothing(model, tmp_path, constant):
    """Saturated or unknown: no update at all, not even by the momentum of AdamW; nothing is buffered."""
    it = trainer(model, tmp_path, rewards(everywhere(constant)), Imitation(batch=1), max_steps=3, weight_decay=0.1)
    before = weights(it)
    it.train()
    assert logged(it, "unknown" if constant != constant else "saturated") == [1] * 3
    assert logged(it, "imitated") == [0] * 3
    assert torch.equal(weights(it), before)
    assert len(it.buffer) == 0


def test_an_evaluation_neither_buffers_nor_imitates(model, tmp_path):
    it = trainer(model, tmp_path, rewards(says("geoboard")), Imitation(batch=1), per_device_eval_batch_size=4)
    it.evaluate(it.train_dataset.select([0, 1]))
    assert len(it.buffer) == 0
    assert not any(key.startswith("rsrs") for key in it._metrics["train"])


def some_fail(samples, captions):
    words = ["e" if s.id in ("s0", "s3") else "never said" for s in samples]
    return trl_toys.Values([[float(word in c.text) for c in group] for word, group in zip(words, captions)])


def test_resuming_continues_where_it_stopped(model, tmp_path):
    """Weights, sampling, optimizer and buffer; both terms of the loss are there before and after."""

    def run(folder, steps, resume=None):
        given = rewards(some_fail)
        it = trainer(
            model, folder, given, Imitation(batch=3), per_device_train_batch_size=8, max_steps=steps,
            save_strategy="steps", save_steps=2,
        )  # fmt: skip
        it.train(resume_from_checkpoint=resume)
        return it

    whole = run(tmp_path / "a", 5)
    first = run(tmp_path / "b", 2)
    assert len(first.buffer) > 0
    assert not torch.equal(weights(first), weights(trainer(model, tmp_path / "c", rewards(says("e")))))
    checkpoint = tmp_path / "b" / "out" / "checkpoint-2"
    second = run(tmp_path / "b", 5, str(checkpoint))
    assert sum(logged(second, "imitated")[2:]) > 0
    assert logged(second, "live") == logged(whole, "live")
    assert list(second.buffer) == list(whole.buffer)
    torch.testing.assert_close(weights(second), weights(whole), rtol=1e-6, atol=1e-7)
    (checkpoint / "rsrs.json").unlink()
    with pytest.raises(RunError, match="rsrs.json is missing: RSRSTrainer did not write this checkpoint"):
        run(tmp_path / "b", 5, str(checkpoint))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_type": "bnpo"}, "'bnpo' counts dead captions; use dapo"),
        ({"scale_rewards": "batch"}, "lets dead groups scale live ones"),
        (
            {"num_iterations": 2, "save_strategy": "steps", "save_steps": 3},
            "multiple of 2, the steps a generation lasts",
        ),
    ],
)
def test_settings_it_can_not_keep_its_word_under_are_refused(model, tmp_path, options, message):
    with pytest.raises(RunError, match=message):
        trainer(model, tmp_path, rewards(says("a")), **options)


def test_rewards_and_data_of_others_are_refused(model, tmp_path):
    it = trainer(model, tmp_path, rewards(says("a")))
    ours, theirs = it.reward_funcs, [lambda completions, **columns: [0.0] * len(completions)]
    strangers = dataset([replace(trl_toys.samples(tmp_path)[0], id="s77")], "Say it.")
    for functions, rows, error, message in (
        (ours + theirs, it.train_dataset, RunError, "one call of reward_functions"),
        (ours, it.train_dataset.remove_columns("sample_id"), DataError, "sample_id .none. is not among"),
        (ours, strangers, DataError, "sample_id s77 is not among"),
    ):
        with pytest.raises(error, match=message):
            type(it)(str(model), functions, trl_toys.config(tmp_path), rows)


def test_our_reward_functions_serve_the_plain_trainer(model, tmp_path):
    it = trainer(model, tmp_path, rewards(says("e")), kind=GRPOTrainer, max_steps=2)
    it.train()
    assert it.state.global_step == 2


def test_without_trl_the_message_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "capwright.training.trl")
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(RunError, match=r"install TRL with: pip install 'capwright\[trl\]'"):
        importlib.import_module("capwright.training.trl")


@pytest.mark.timeout(120)
def test_two_processes_do_what_one_does(model, tmp_path):
    """A group straddles the processes and failed images are divided unequally: the same weights and buffer to 1e-5."""
    trl_toys.main(model, tmp_path / "one")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone",
         str(HELPERS / "trl_toys.py"), str(model), str(tmp_path / "two")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    paths = (tmp_path / "one" / "rank-0.json", *(tmp_path / "two" / f"rank-{rank}.json" for rank in (0, 1)))
    alone, first, second = (json.loads(path.read_text()) for path in paths)
    assert sum(alone["rsrs/imitated"]) > 0
    assert sum(alone["rsrs/live"]) > 0
    assert {k: alone[k] for k in ("rsrs/imitated", "rsrs/live", "waiting")} == {
        k: first[k] for k in ("rsrs/imitated", "rsrs/live", "waiting")
    }
    assert second["waiting"] == first["waiting"]
    assert second["weights"] == first["weights"]
    torch.testing.assert_close(torch.tensor(first["weights"]), torch.tensor(alone["weights"]), rtol=1e-5, atol=1e-5)
