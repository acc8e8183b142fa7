"""The benchmark beside TRL: rows about where the two differ say what the pages say."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def it(tmp_path_factory):
    import trl_parity as module  # which needs TRL

    return module, module.Bench(tmp_path_factory.mktemp("bench"))


def test_losses_and_gradients_are_the_same(it):
    module, bench = it
    for row in [*module.same_loss(bench), *module.adapter(bench, [(1, 2, 1)])]:
        assert row["apart"] < 1e-5
        assert row["gradient_apart"] < 1e-5 < 1e-4 < row["gradient"]


def test_dead_and_unknown_groups_change_what_trl_learns(it):
    module, bench = it
    (four, twelve) = module.dead(bench)
    assert (four["trl"], twelve["trl"]) == pytest.approx((2**0.5, 2), rel=0.05)
    assert (four["capwright"], twelve["capwright"]) == pytest.approx((1, 1))
    one, down = module.unknown(bench)
    assert one["trl"] == one["trl_of_0"] < -1.4
    assert one["capwright"] != one["capwright"]
    assert (down["trl"], down["waiting"]) == (0, 0)


def test_trl_processes_every_image_twice_a_caption(it):
    module, bench = it
    (row,) = module.images(bench)
    assert row["trl"] == 2 * row["images"] * row["captions"]
