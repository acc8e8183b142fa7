"""One step of the trainer: routing, imitation, micro-batches, skipping, stopping, and what it writes down."""

from __future__ import annotations

import copy

import pytest
import torch

from capwright.recipes.stages import Kl
from capwright.training.demonstrations import targets
from capwright.training.distributed import ProcessGroup, join
from capwright.training.rewards import Rewards
from capwright.training.trainer import Trainer
from capwright.types import ImageError, ModelError, RunError, Sample
from toy_captioner import ToyData, Values, says, toy_materials
from toy_trainer import RECIPE, constant, rl, sft, trainer, unchanged, weights


def test_failed_groups_are_imitated_until_the_name_is_said():
    it = trainer(rl(steps=60, learning_rate=0.1))
    rows = [it.step() for _ in range(60)]
    assert rows[0]["groups"] == {"live": 0, "failed": 6, "saturated": 0, "unknown": 0}
    assert (rows[0]["imitated"], rows[0]["buffer"]) == (4, 2)
    assert rows[0]["loss"] == rows[0]["loss_imitation"]
    assert rows[0]["reward"] == {"tts": 0.0}
    assert rows[-1]["reward"]["tts"] > 0.8
    assert rows[-1]["groups"]["failed"] == 0


def test_plain_grpo_never_finds_the_name():
    it = trainer(rl(kind="grpo", steps=41, patience=100))
    before = weights(it)
    rows = [it.step() for _ in range(40)]
    assert all(row["loss"] is None and row["imitated"] == 0 and row["buffer"] == 0 for row in rows)
    assert unchanged(before, it)
    assert it.counts["skipped"] == 40
    with pytest.raises(RunError, match="nothing to learn from in 41 steps in a row"):  # all of the stage
        it.step()


@pytest.mark.parametrize("steps", [3, 5])
def test_a_short_stage_that_learned_nothing_ends_the_run(steps):
    """Shorter than `patience`; of fewer than five steps nobody can say what more would have brought."""
    it = trainer(rl(kind="grpo", steps=steps, patience=100))
    for _ in range(min(steps, 4)):
        it.step()
    if steps == 5:
        with pytest.raises(RunError, match="nothing to learn from in 5 steps in a row"):
            it.step()


def test_grpo_reinforces_what_is_sometimes_said():
    it = trainer(rl(kind="grpo", steps=80, learning_rate=0.1), toy_materials(views={"blue": says("blue")}))
    rows = [it.step() for _ in range(80)]
    assert rows[-1]["reward"]["blue"] > rows[0]["reward"]["blue"] + 0.3
    assert {"loss_policy", "grad_norm", "tokens", "caption_words", "truncated", "lr"} <= set(rows[0])


def test_sft_lowers_its_loss():
    it = trainer(sft(steps=60, learning_rate=0.05, captions_per_image=2))
    rows = [it.step() for _ in range(60)]
    assert rows[-1]["loss"] < rows[0]["loss"] - 1
    assert "groups" not in rows[0]
    assert it.policy.encoded == 6 * 60  # every image once a step


@pytest.mark.parametrize("advantage", ["grpo", "dr_grpo", "rloo", "gdpo"])
@pytest.mark.parametrize("normalizer", ["token", "sequence"])
@pytest.mark.parametrize("inner_epochs", [1, 3])
def test_micro_batches_do_not_change_the_result(advantage, normalizer, inner_epochs):
    """Live groups beside failed ones that are imitated; the cuts of sampling and of the loss are free.

    Captions are a function of the image, since other batches would be sampled with other random numbers.
    """

    def sample(prefixes, n, sampling, noise=None):
        texts = ["a toy on a rug", "a blue toy", "a red drum board", "blue", "a toy", "red blue blue toy on a board"]
        start = [int(request.sample.image.stem) for request in prefixes.requests]
        return policy.tokenize(prefixes, [[texts[(i % 2 + g * (i % 4 > 0)) % 6] for g in range(n)] for i in start])

    cuts = [(None, None), (1, None), (2, 4), (3, 3)]
    for prefix_trains in (True, False):
        found = []
        for micro, rollout in cuts:
            stage = rl(
                advantage=advantage, normalizer=normalizer, inner_epochs=inner_epochs, micro_batch=micro,
                images_per_step=8, imitation={"batch": 2, "weight": 0.5}, rollout_batch=rollout,
                kl={"beta": 0.1 if inner_epochs > 1 else 0.0},
            )  # fmt: skip
            materials = toy_materials(views={"blue": says("blue"), "tts": says()}, prefix_trains=prefix_trains)
            policy = materials.policy
            policy.model.look.requires_grad_(prefix_trains)
            policy.sample = sample
            policy.freeze_reference()
            it = trainer(stage, materials)
            before = weights(it)
            row = it.step()
            assert row["groups"]["live"] > 0
            assert row["imitated"] == 2
            assert torch.equal(before["look.weight"], weights(it)["look.weight"]) != prefix_trains
            found.append((weights(it), row))
        (first, row), *others = found
        assert len(others) == len(cuts) - 1
        for other, other_row in others:
            for name, value in other.items():
                torch.testing.assert_close(value, first[name], rtol=1e-4, atol=1e-5)
            assert other_row["loss"] == pytest.approx(row["loss"], abs=1e-5)


def test_images_are_encoded_once_when_nothing_before_the_captions_trains():
    materials = toy_materials(views={"blue": says("blue")}, prefix_trains=False)
    materials.policy.model.look.requires_grad_(False)
    it = trainer(rl(kind="grpo", micro_batch=2), materials)
    it.step()
    assert materials.policy.encoded == 6


def test_every_image_has_dice_of_its_own_at_every_step():
    """They depend on seed, step and sample; not on the images that are looked at together with it."""

    def dice(rollout_batch):
        it = trainer(rl(kind="grpo", images_per_step=12, rollout_batch=rollout_batch, patience=9))
        honest, drawn = it.policy.sample, []

        def sample(prefixes, n, sampling, noise):
            drawn.extend(
                (request.sample.id, tuple(row.flatten().tolist())) for request, row in zip(prefixes.requests, noise)
            )
            return honest(prefixes, n, sampling, noise)

        it.policy.sample = sample
        for _ in range(2):
            it.step()
        return drawn

    whole = dice(None)
    assert len(whole) == len({row for _, row in whole}) == 24  # 12 images, two steps
    assert sorted(dice(5)) == sorted(whole)


def test_dead_groups_do_not_change_the_update():
    """A step with failed, saturated and unknown groups beside live ones equals a step on the live ones alone."""

    def only(live: set[str]):
        def view(samples, captions):
            rows = []
            for sample, row in zip(samples, captions):
                values = [float(len(caption.text) % 2) for caption in row]
                dead = {0: 0.0, 1: 1.0, 2: float("nan")}[int(sample.image.stem) % 3]
                rows.append(values if sample.id in live else [dead] * len(row))
            return Values(rows)

        return view

    live = {"s1", "s3", "s4"}
    for advantage in ("grpo", "gdpo"):
        results = []
        for alone in (False, True):
            materials = toy_materials(views={"r": only(live)})
            if alone:
                materials.data = ToyData(sample for sample in materials.data if sample.id in live)
            it = trainer(rl(kind="grpo", advantage=advantage, images_per_step=12), materials)
            row = it.step()
            assert row["groups"]["live"] == 3
            results.append(weights(it))
        for name, value in results[0].items():
            torch.testing.assert_close(value, results[1][name], rtol=1e-6, atol=1e-7)


def test_nothing_to_learn_takes_no_step_and_ends_the_run():
    it = trainer(rl(patience=3, steps=10), toy_materials(views={"r": constant(1.0)}))
    it.optimizer.param_groups[0]["weight_decay"] = 0.5
    before = weights(it)
    it.step()
    it.step()
    assert unchanged(before, it)
    with pytest.raises(
        RunError, match=r"stage 'rl' step 3: nothing to learn from in 3 steps in a row \(100 % saturated\)"
    ):
        it.step()
    assert it.counts["updates"] == 0


def test_filling_the_buffer_is_not_idle():
    """Twelve failing images, two a step: the imitation of all of them comes after five steps without any."""
    it = trainer(rl(patience=2, images_per_step=2, imitation={"batch": 12}))
    rows = [it.step() for _ in range(6)]
    assert [row["buffer"] for row in rows] == [2, 4, 6, 8, 10, 0]
    assert (it.counts["skipped"], rows[-1]["imitated"]) == (5, 12)


def test_images_that_wait_already_do_not_count_again():
    """Half of the images fail and wait for more that never come: the run says so and ends."""

    def half(samples, captions):
        return Values([[float(int(s.image.stem) % 2)] * len(row) for s, row in zip(samples, captions)])

    it = trainer(rl(patience=3, images_per_step=12, imitation={"batch": 12}), toy_materials(views={"r": half}))
    for _ in range(3):
        it.step()
    with pytest.raises(RunError, match=r"step 4: .* \(50 % failed, 50 % saturated\).*lower imitation.batch"):
        it.step()


def test_a_batch_larger_than_the_split_is_cut_down():
    said = []
    it = trainer(rl(images_per_step=4, imitation={"batch": 32}), toy_materials(images=8), say=said.append)
    rows = [it.step() for _ in range(2)]
    assert [row["imitated"] for row in rows] == [0, 8]
    assert said == ["rl: imitation.batch is 32, but there are 8 images with a caption to imitate; imitating 8 at once"]


def test_one_optimizer_at_a_time():
    """Accelerate unscales the gradients of every optimizer it holds."""
    materials = toy_materials()
    processes = ProcessGroup(join(RECIPE, materials.policy))
    for stage in (sft(), rl()):
        it = Trainer(materials, stage, 0, processes)
        it.step()
    assert processes.accelerator._optimizers == [it.optimizer]


@pytest.mark.parametrize("stage", [sft(), rl(imitation={"batch": 2})])
@pytest.mark.parametrize("before", [True, False])
def test_captions_to_imitate_are_encoded_in_training_mode(stage, before):
    """Whether a probe, a resume or nothing came before: dropout in front of the captions is the same."""
    it = trainer(stage)
    honest, modes = it.policy.encode, []
    it.policy.encode = lambda *given: modes.append(it.policy.model.training) or honest(*given)
    it.policy.model.train(before)
    it.step()
    assert modes == ([True] if stage.kind == "sft" else [False, True])


def test_a_reward_without_weight_or_gate_may_be_unknown():
    """It is written down and does not matter."""
    views = {"blue": says("blue"), "judge": constant(float("nan"))}
    for advantage in ("grpo", "gdpo"):
        materials = toy_materials(views=views)
        materials.rewards = Rewards(views, (1.0, 0.0), (True, False), (0.0, 0.0))
        row = trainer(rl(advantage=advantage), materials).step()
        assert row["groups"]["unknown"] == 0
        assert row["groups"]["live"] > 0
        assert row["reward"]["judge"] is None
        assert row["loss"] is not None


def test_an_outage_fills_no_buffer():
    it = trainer(rl(patience=3), toy_materials(views={"r": constant(float("nan"))}))
    row = it.step()
    assert row["groups"]["unknown"] == 6
    assert row["reward"] == {"r": None}
    assert len(it.buffer) == 0
    it.step()
    with pytest.raises(RunError, match="100 % unknown"):
        it.step()


def test_an_image_without_expert_captions_is_not_buffered():
    materials = toy_materials()
    materials.data[:] = [Sample(s.id, s.image) for s in materials.data]
    it = trainer(rl(), materials)
    row = it.step()
    assert row["groups"]["failed"] == 6
    assert len(it.buffer) == 0


@pytest.mark.parametrize("stage", [rl(), sft()])
def test_loss_that_is_not_finite(stage):
    it = trainer(stage)
    honest = it.policy.logprobs
    it.policy.logprobs = lambda groups, temperature=1.0: honest(groups, temperature=temperature) * float("inf")
    before = weights(it)
    with pytest.raises(RunError, match=r"step 1: the loss is (nan|inf)"):
        it.step()
    assert unchanged(before, it)
    assert all(p.grad is None for p in it.parameters)


def test_gradient_that_is_not_finite():
    it = trainer(sft())
    it.parameters[0].register_hook(lambda gradient: gradient * float("nan"))
    before = weights(it)
    with pytest.raises(RunError, match="the gradient is nan"):
        it.step()
    assert unchanged(before, it)


def test_kl_pulls_back():
    far = {}
    for beta in (0.0, 10.0):
        materials = toy_materials(views={"blue": says("blue")})
        materials.policy.freeze_reference()
        it = trainer(rl(kind="grpo", steps=30, kl=Kl(beta=beta), learning_rate=0.1), materials)
        before = weights(it)
        rows = [it.step() for _ in range(30)]
        far[beta] = sum((value - before[name]).norm() for name, value in weights(it).items())
        assert ("kl" in rows[5]) == (beta > 0)
    assert far[10.0] < 0.8 * far[0.0]


def test_truncated_captions_can_be_masked():
    it = trainer(
        rl(kind="grpo", mask_truncated=True, sampling={"max_tokens": 2}), toy_materials(views={"b": says("blue")})
    )
    for _ in range(3):
        rollout, _, _ = it._rollout()
        for part in it._live_parts(rollout, it.estimator.advantages(rollout, it.estimator.route(rollout))):
            ended = torch.tensor([[c.finish == "stop" for c in group] for group in part.groups.captions])
            assert torch.equal(part.mask.any(-1), ended)


def test_images_that_can_not_be_used_are_left_out():
    said = []
    materials = toy_materials()
    honest_open, honest_encode = materials.open_image, materials.policy.encode

    def open_image(path):
        if path.stem == "3":
            raise ImageError(f"{path}: does not exist")
        return honest_open(path)

    def encode(requests, images=None):
        if any(request.sample.id == "s5" for request in requests):
            raise ModelError("sample 's5': not accepted by the model")
        return honest_encode(requests, images)

    materials.open_image, materials.policy.encode = open_image, encode
    it = trainer(sft(images_per_step=12), materials, say=said.append)
    row = it.step()
    assert row["imitated"] == 10
    assert it.counts["unreadable"] == 2
    assert sorted(said) == ["left out: 3.png: does not exist", "left out: sample 's5': not accepted by the model"]


def test_targets():
    sample = Sample("a", "a.png", ("expert", " "), meta={"casual": ["one", 2, ""], "single": "text", "number": 3})
    assert targets(sample, "references") == ["expert"]
    assert targets(sample, "meta.casual") == ["one"]
    assert targets(sample, "meta.single") == ["text"]
    assert targets(sample, "meta.number") == targets(sample, "meta.missing") == []


def test_state_goes_through_a_dict():
    whole = trainer(rl(steps=30))
    for _ in range(12):
        whole.step()
    half = trainer(rl(steps=30))
    half.policy.model.load_state_dict(weights(whole))
    half.load_state_dict(copy.deepcopy(whole.state_dict()))
    rows = [(whole.step(), half.step()) for _ in range(6)]
    assert all(one == two for one, two in rows)
    assert unchanged(weights(whole), half)
