"""Seven faults that other tools for this kind of training have been seen with, one test each.

Every test writes down the faulty behaviour in a few lines, shows that it is wrong, and holds ours against it.
"""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from capwright.models import FeatureCache, load_policy
from capwright.training.advantage_estimator import AdvantageEstimator
from capwright.training.advantages import gdpo, grpo, route
from capwright.training.buffer import Buffer
from capwright.training.distributed import ProcessGroup
from capwright.training.rewards import Rewards
from capwright.training.rollout import GroupRecord, Rollout, TrainingSetup
from capwright.types import OutageError, Request, Sample
from tiny_models import write_llava
from toy_captioner import NAMES, ToyData, Values, says, toy_materials
from toy_trainer import constant, rl, trainer, unchanged, weights

NAN = float("nan")


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return write_llava(tmp_path_factory.mktemp("models") / "llava")


def photographed(llava, folder, view, opened=lambda image: None) -> TrainingSetup:
    """A tiny LLaVA and four images on disk; `opened` is told about every image that is read."""
    data = ToyData()
    for i in range(4):
        Image.new("RGB", (40, 30), (60 * i, 50, 200)).save(folder / f"{i}.png")
        data.append(Sample(f"s{i}", folder / f"{i}.png", (f"a {NAMES[i % 3]} is on the rug",)))

    def open_image(path):
        image = Image.open(path).convert("RGB")
        opened(image)
        return image

    rewards = Rewards({"r": view}, (1.0,), (True,), (0.0,))
    return TrainingSetup(load_policy(llava, layout="packed"), data, "four", rewards, open_image)


def plain_gdpo(rewards: torch.Tensor, eps: float = 1e-4) -> torch.Tensor:
    """GDPO as its formulas read, in the precision of its input, whitened over all rows `[P, G, K]`."""
    normal = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + eps)
    total = normal.sum(2)
    return (total - total.mean()) / (total.std() + eps)


def spread(rewards: torch.Tensor) -> float:
    return float(rewards.abs().max())


def test_1_failed_images_of_a_vision_language_model_are_imitated(llava, tmp_path):
    """Groups in which every caption earned 0 teach GRPO nothing; nobody shows a vision-language model the answer."""
    assert spread(grpo(torch.zeros(4, 4))) == 0.0

    def expert(policy, data) -> float:
        policy.model.eval()
        with torch.no_grad():
            prefixes = policy.encode([Request(sample) for sample in data])
            return float(policy.logprobs(policy.tokenize(prefixes, [[s.references[0]] for s in data])).sum())

    said = {}
    for kind in ("grpo", "rsrs"):
        materials = photographed(llava, tmp_path, constant(0.0))
        options = {"images_per_step": 4, "learning_rate": 0.003, "sampling": {"max_tokens": 4}}
        it = trainer(rl(kind=kind, **options), materials)
        before = weights(it)
        start = expert(materials.policy, materials.data)
        rows = [it.step() for _ in range(2)]
        assert [row["groups"]["failed"] for row in rows] == [4, 4]
        assert [row["imitated"] for row in rows] == ([4, 4] if kind == "rsrs" else [0, 0])
        assert unchanged(before, it) == (kind == "grpo")
        said[kind] = expert(materials.policy, materials.data) - start
    assert said["grpo"] == 0.0
    assert said["rsrs"] > 1.0


def test_2_constant_groups_that_are_not_zero():
    """The same reward for every caption leaves rounding noise, and dividing noise by its own size makes it a signal."""
    generator = torch.Generator().manual_seed(0)
    for group in (3, 5, 6, 7, 12):
        for k in (1, 2, 4):
            rewards = torch.rand(16, 1, k, generator=generator).expand(16, group, k).contiguous()
            assert spread(plain_gdpo(rewards)) > 1.0
            assert (gdpo(rewards) == 0).all()
            assert route(rewards).saturated.all()


def test_3_dead_groups_do_not_inflate_the_others():
    """Whitening over groups that say nothing scales up those that do, by the root of all over live."""
    live = torch.rand(4, 8, 2, generator=torch.Generator().manual_seed(0))
    for dead in (4, 12, 28):
        together = torch.cat([live, torch.zeros(dead, 8, 2)])
        inflated = plain_gdpo(together)[:4].square().mean().sqrt() / plain_gdpo(live).square().mean().sqrt()
        assert float(inflated) == pytest.approx(((4 + dead) / 4) ** 0.5, rel=0.03)
        torch.testing.assert_close(gdpo(together)[:4], gdpo(live))

    def six_fail(samples, captions):
        return Values([[len(c.text) % 3 * (int(s.image.stem) < 6) for c in row] for s, row in zip(samples, captions)])

    updates, failed = [], []
    for images in (6, 12):  # nor do failed images dilute the loss of the others
        materials = toy_materials(views={"r": six_fail})
        materials.data[:] = materials.data[:images]
        it = trainer(rl(kind="grpo", advantage="gdpo", images_per_step=12), materials)
        failed.append(it.step()["groups"]["failed"])
        updates.append(weights(it))
    assert failed[1] - failed[0] == 6
    for name, value in updates[0].items():
        torch.testing.assert_close(value, updates[1][name], rtol=1e-6, atol=1e-7)


def test_4_failed_is_what_gates_say_and_unknown_is_not_failed():
    """`all(reward == 0)` misses failures beside a reward of form, misses them under continuous rewards, and takes an
    outage that was written down as 0 for a failure."""

    def all_zero(rewards: torch.Tensor) -> list[bool]:
        return (rewards.nan_to_num(0.0) == 0).flatten(1).all(1).tolist()

    beside_form = torch.tensor([[[0.0, 0.9], [0.0, 0.4]]])  # name, form
    assert all_zero(beside_form) == [False]
    assert route(beside_form, gates=[True, False]).failed.tolist() == [True]

    continuous = torch.tensor([[0.08, 0.11], [0.30, 0.50]])  # the same floor, below each image's own best reference
    assert all_zero(continuous) == [False, False]
    assert route(continuous, floors=[0.2]).failed.tolist() == [True, False]
    assert route(continuous, floors=torch.tensor([[0.1], [0.6]])).failed.tolist() == [False, True]

    outage = torch.tensor([[NAN, NAN], [0.0, NAN]])
    assert all_zero(outage) == [True, True]
    assert route(outage).unknown.tolist() == [True, True]
    it = trainer(rl(), toy_materials(views={"r": constant(NAN)}))
    it.step()
    assert len(it.buffer) == 0


def test_5_an_image_is_read_once_and_never_kept(llava, tmp_path):
    """Elsewhere an image is processed for every caption, when it is sampled and again when it is scored; and images
    travel and stay with the prompts."""
    alive, calls = [], [0]
    materials = photographed(
        llava, tmp_path, lambda s, c: Values([[float(g) for g in range(len(row))] for row in c]),
        opened=lambda image: alive.append(weakref.ref(image)),
    )  # fmt: skip
    processor = materials.policy.prompt_processor
    honest = processor.prepare

    def prepare(*given_):
        calls[0] += 1
        return honest(*given_)

    processor.prepare = prepare
    images, group = 4, 4
    for sample in materials.data:
        for _ in range(2 * group):
            prepare(Request(sample), materials.open_image(sample.image))
    assert calls[0] == 2 * images * group

    materials.policy.cache = FeatureCache(2**24)
    it = trainer(rl(images_per_step=images, captions_per_image=group, sampling={"max_tokens": 4}), materials)
    counts = []
    for _ in range(2):  # two passes over the data
        calls[0] = 0
        alive.clear()
        it.step()
        counts.append((calls[0], len(alive)))
        gc.collect()
        assert all(image() is None for image in alive)
    assert counts == [(images, images), (0, 0)]

    buffer = Buffer()
    buffer.add(materials.data)
    assert buffer.state_dict() == {"waiting": [(sample.id, str(sample.image)) for sample in materials.data]}
    assert not any(isinstance(leaf, Image.Image) for leaf in leaves(it.state_dict()))


def leaves(state):
    if isinstance(state, dict):
        state = list(state.values())
    if isinstance(state, (list, tuple)):
        return [leaf for item in state for leaf in leaves(item)]
    return [state]


@pytest.mark.parametrize("micro_batch", [None, 1])
def test_6_both_terms_make_one_update(micro_batch):
    """An engine that steps at the end of every backward pass takes two steps where policy and imitation each have one,
    and Adam's two steps are not its step on the sum."""

    class Engine:
        def __init__(self):
            self.weight = torch.nn.Parameter(torch.ones(3))
            self.optimizer, self.steps = torch.optim.Adam([self.weight], lr=0.1), 0

        def backward(self, loss):
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.steps += 1

    apart, joint = Engine(), Engine()
    direction = torch.tensor([1.0, -2.0, 0.5])
    apart.backward((apart.weight * direction).sum())
    apart.backward(apart.weight.square().sum())
    joint.backward((joint.weight * direction).sum() + joint.weight.square().sum())
    assert (apart.steps, joint.steps) == (2, 1)
    assert not torch.allclose(apart.weight, joint.weight, atol=0.01)

    materials = toy_materials(views={"blue": says("blue"), "tts": says()})
    it = trainer(rl(images_per_step=12, imitation={"batch": 2}, micro_batch=micro_batch), materials)
    happened = []
    step, add = it.optimizer.step, it.processes.add_gradients
    backward = it.processes.backward
    it.optimizer.step = lambda: happened.append("step") or step()
    it.processes.add_gradients = lambda parameters: happened.append("add up") or add(parameters)
    it.processes.backward = lambda loss: happened.append("backward") or backward(loss)
    row = it.step()
    assert row["groups"]["live"] > 1
    assert row["imitated"] == 2
    n = 2 if micro_batch is None else row["groups"]["live"] + 2
    assert happened == ["backward"] * n + ["add up", "step"]
    assert it.counts["updates"] == 1
    assert row["loss"] == pytest.approx(row["loss_policy"] + row["loss_imitation"], abs=1e-5)


@given(n=st.integers(0, 20), size=st.integers(1, 6))
@example(n=2, size=2)
@settings(max_examples=40, deadline=None)
def test_7_all_processes_decide_the_same(n, size):
    """A process that decides from its own share may fill its buffer and learn while another waits for gradients."""
    teams = [
        ProcessGroup(SimpleNamespace(process_index=i, num_processes=size, distributed_type=None)) for i in range(size)
    ]
    shares = [list(processes.shard(range(n))) for processes in teams]
    assert [item for share in shares for item in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1

    rewards = torch.tensor([[0.0, 0.0] if i % 2 else [0.0, 1.0] for i in range(n)]).view(n, 2)
    alone = [bool(route(rewards[share]).failed.any()) for share in shares]
    if n == 2 and size == 2:
        assert alone == [False, True]  # one of them would imitate, the other would not

    materials = toy_materials()
    records = [
        GroupRecord(
            f"s{i}",
            row.double().unsqueeze(-1),
            torch.zeros(1).double(),
            None,
            ["a", "b"],
            4,
            0,
            None,
            torch.empty(0, 1).double(),
            False,
        )
        for i, row in enumerate(rewards)
    ]
    decisions = []
    for processes, share in zip(teams, shares):
        credit = AdvantageEstimator(rl(captions_per_image=2), materials, processes)
        rollout = Rollout(places=share, records=records)  # what was gathered, and which of it is this process's own
        states = credit.route(rollout)
        advantages = {place: row.tolist() for place, row in credit.advantages(rollout, states).items()}
        decisions.append((states.counts(), states.failed.tolist(), advantages))
    assert all(one == decisions[0] for one in decisions)
    assert decisions[0][0]["failed"] == n // 2
    assert len(decisions[0][2]) == n - n // 2


def test_an_outage_of_the_judge_ends_the_run_and_buffers_nothing():
    """A judge that is not there is no failure of the captions: nothing is zero, nothing is imitated, the run stops."""

    def down(samples, captions):
        raise OutageError("http://127.0.0.1:9: no answer for 60 s (connection refused)")

    it = trainer(rl(kind="rsrs", max_failures=1.0), toy_materials(views={"judged": down}))
    before = weights(it)
    with pytest.raises(OutageError, match=r"127\.0\.0\.1:9.*connection refused"):
        it.step()
    assert unchanged(before, it)
    assert len(it.buffer) == 0
