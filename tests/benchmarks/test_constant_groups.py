"""The benchmark of constant groups: only our advantages of them are 0, and only ours ignore how many there are."""

from __future__ import annotations

import pytest
import torch

import constant_groups as bench


def test_constant_groups_get_nothing_here_and_something_elsewhere():
    rows = bench.measure(3, seed=0)
    assert all(row["largest"] == 0 for row in rows if row["method"] == "capwright" and "largest" in row)
    assert all(max(row["largest"] for row in rows if row["method"] == name and row["part"] == "constant") > 0.5
               for name in ("TRL", "ms-swift"))  # fmt: skip
    spreads = {(row["method"], row["groups"]): row["spread"] for row in rows if row["part"] == "dead"}
    assert spreads["TRL", 16] == pytest.approx(2, rel=0.05)
    assert spreads["capwright", 16] == spreads["capwright", 4]


def test_the_formulas_are_those_of_trl():
    utils = pytest.importorskip("trl.trainer.utils")
    rewards = torch.rand(4, 7, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bench.nanstd(rewards), utils.nanstd(rewards, dim=1, keepdim=True))
