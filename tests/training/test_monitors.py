"""Alarms: raised where a reward is gamed or says nothing, silent where all is well, each once."""

from __future__ import annotations

import copy
import random

import pytest
import torch

from capwright.training.monitors import STUCK, RewardMonitor, repetition

NAN = float("nan")
WORDS = [f"w{i}" for i in range(60)]


def captions(chance: random.Random, images: int = 8, group: int = 8, longer=lambda image: 0) -> list[list[str]]:
    """Captions of 4 to 12 different words, more of them for some images."""
    return [
        [" ".join(chance.sample(WORDS, chance.randint(4, 12) + longer(image))) for _ in range(group)]
        for image in range(images)
    ]


def lengths(texts: list[list[str]]) -> torch.Tensor:
    return torch.tensor([[len(text.split()) for text in group] for group in texts], dtype=torch.float64)


def heard(alarms: RewardMonitor, steps: int, rewards, texts=captions, seed: int = 0) -> list[str]:
    """The alarms of some steps; `rewards` maps (chance, lengths [P, G]) to values [P, G]."""
    chance, found = random.Random(seed), []
    for _ in range(steps):
        said = texts(chance)
        found += alarms.look(rewards(chance, lengths(said)).unsqueeze(-1), said)["alarms"]
    return found


def noise(chance: random.Random, like: torch.Tensor) -> torch.Tensor:
    return torch.rand(like.shape, generator=torch.Generator().manual_seed(chance.randrange(2**31))).double()


def one() -> RewardMonitor:
    return RewardMonitor(["r"], [1.0])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_reward_that_is_length_in_disguise(sign):
    (text,) = heard(one(), 40, lambda chance, long: sign * long / 20 + 0.05 * noise(chance, long))
    assert text.startswith(f"reward 'r' follows the length of captions (correlation {'-' if sign < 0 else ''}0.9")


def test_nothing_is_said_of_an_honest_reward():
    assert heard(one(), 40, noise) == []


def test_images_that_need_long_captions_raise_no_alarm():
    """Across images reward and length go together; within an image they have nothing to do with each other."""
    need = torch.arange(8).double().unsqueeze(1)

    def texts(chance):
        return captions(chance, longer=lambda image: 4 * image)

    def rewards(chance, long):
        return need / 8 + 0.01 * noise(chance, long)

    chance = random.Random(1)
    long = lengths(texts(chance))
    pooled = torch.corrcoef(torch.stack([long.flatten(), rewards(chance, long).flatten()]))[0, 1]
    assert pooled > 0.8  # what an alarm over the whole batch would have rung for
    assert heard(one(), 40, rewards, texts) == []


def test_a_few_captions_are_no_evidence():
    alarms = one()
    assert heard(alarms, 3, lambda chance, long: long / 20) == []
    assert heard(alarms, 1, lambda chance, long: long / 20) != []


def test_unknown_rewards_are_no_evidence():
    alarms = one()
    chance = random.Random(0)
    for _ in range(40):
        said = captions(chance)
        row = alarms.look(torch.full((8, 8, 1), NAN), said)
        assert row["alarms"] == []
        assert row["length_correlation"] == {"r": None}
    assert alarms.stuck["r"] == 0


def test_captions_that_repeat_themselves():
    def stammer(chance):
        return [[" ".join(chance.sample(WORDS, 3) * 4) for _ in range(8)] for _ in range(8)]

    (text,) = heard(one(), 30, noise, stammer)
    assert text == "captions repeat themselves: 70% of their word triples were said before"


def test_repetition():
    assert repetition("abc") == repetition([]) == repetition("abcd") == 0.0  # letters will do for words
    assert repetition("aaaa") == 0.5
    assert repetition("abcabca") == pytest.approx(2 / 5)


def test_one_caption_for_everything():
    def parrot(chance):
        return [[f"w{i} w{g} {chance.random()}" for g in range(7)] + ["a thing"] for i in range(8)]

    (text,) = heard(one(), 30, noise, parrot)
    assert text == "one caption is said of 100% of the images"
    alone = [["a thing"] * 8 for _ in range(3)]  # three images are too few to say so
    alarms = one()
    assert all(alarms.look(torch.rand(3, 8, 1), alone)["alarms"] == [] for _ in range(10))


def test_a_reward_that_stopped_varying():
    """Different for different images, the same within every group; one step with a spread starts the count anew."""

    def stuck(chance, long):
        return noise(chance, long)[:, :1].expand_as(long)

    alarms = one()
    assert heard(alarms, STUCK - 1, stuck) == []
    assert heard(alarms, 1, noise) == []
    assert heard(alarms, STUCK - 1, stuck) == []
    assert heard(alarms, 1, stuck) == [f"reward 'r' has not varied within any group for {STUCK} steps"]
    assert heard(alarms, 3 * STUCK, stuck) == []  # said once


def test_a_caption_alone_can_not_vary():
    assert heard(one(), 2 * STUCK, noise, lambda chance: captions(chance, group=1)) == []


def test_a_reward_that_never_varies_in_a_short_stage_is_known():
    def stuck(chance, long):
        return torch.full(long.shape, 0.5, dtype=torch.float64)

    alarms = one()
    heard(alarms, 3, stuck)
    assert alarms.never_varied() == ["r"]
    again = one()
    again.load_state_dict(alarms.state_dict())
    assert again.never_varied() == ["r"]
    heard(alarms, STUCK, stuck)  # by now it was said
    assert alarms.never_varied() == []
    alarms = one()
    heard(alarms, 1, noise)
    heard(alarms, 3, stuck)
    assert alarms.never_varied() == []
    alarms = one()
    heard(alarms, 3, noise, lambda chance: captions(chance, group=1))  # one caption of an image cannot vary
    assert alarms.never_varied() == []


def test_rewards_without_weight_are_not_watched():
    alarms, chance = RewardMonitor(["idle", "r"], [0.0, 1.0]), random.Random(0)
    for _ in range(2 * STUCK):
        said = captions(chance)
        values = torch.stack([torch.zeros(8, 8).double(), noise(chance, lengths(said))], -1)
        row = alarms.look(values, said)
        assert row["alarms"] == []
        assert list(row["length_correlation"]) == ["r"]


def test_a_step_without_captions():
    row = one().look(torch.empty(0, 1, 1).double(), [])
    assert row == {"length_correlation": {"r": None}, "repetition": 0.0, "alarms": []}


@pytest.mark.parametrize("cut", [2, 7, 25])
def test_resumed_alarms_ring_as_if_never_interrupted(cut):
    def steps():
        chance = random.Random(3)
        for step in range(45):
            said = captions(chance)
            long = lengths(said)
            yield (long / 20 if step > 10 else noise(chance, long)[:, :1].expand_as(long)).unsqueeze(-1), said

    whole, half = one(), one()
    expected = [whole.look(*step) for step in steps()]
    assert sum(len(row["alarms"]) for row in expected) == 1
    found = []
    for number, step in enumerate(steps()):
        if number == cut:
            state, half = copy.deepcopy(half.state_dict()), one()
            half.load_state_dict(state)
        found.append(half.look(*step))
    assert found == expected
    assert half.state_dict() == whole.state_dict()
