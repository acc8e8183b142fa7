"""Fixtures that more than one room uses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings

from capwright import plugins
from capwright.data import read_coco, write_dataset
from places import PHOTOS

# The same examples every time, however slow the machine: a test that fails has failed because of a change.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _no_plugins_of_other_tests():
    """What a test registers is gone after it."""
    yield
    plugins.forget()


@pytest.fixture
def photo_dataset(tmp_path: Path) -> Path:
    """A dataset folder of 34 real photos with captions: 22 train, 6 val, 6 test; object categories are the terms."""
    samples, vocabulary = read_coco(PHOTOS / "annotations.json", PHOTOS)
    splits = ["train"] * 22 + ["val"] * 6 + ["test"] * 6
    split = [replace(sample, split=name) for sample, name in zip(samples, splits, strict=True)]
    return write_dataset(split, tmp_path / "photos", vocabulary)
