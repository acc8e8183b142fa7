"""The benchmark of language: spoiled captions score lower the more they are spoiled."""

from __future__ import annotations

import random

import numpy as np
import pytest

import language_check as bench
from capwright.scorers.fluency.language import Language

TEXT = "A child is sitting in the garden and two green dolls are on the left."


def correlations(texts, learned):
    rows = bench.check(texts, learned, "", Language())
    return {key: {row["way"]: row[key] for row in rows} for key in ("within", "pooled")}


def test_the_kindergarten():
    found = correlations(*bench.kindergarten(400, 60))
    assert np.mean(list(found["within"].values())) > 0.85
    assert np.mean(list(found["pooled"].values())) > 0.8
    cut = found["within"].pop("cut off")  # a caption may well end earlier
    assert cut > 0.5
    assert min(found["within"].values()) > 0.85


def test_coco_captions():
    found = correlations(*bench.coco(2000, 100))
    assert np.mean(list(found["within"].values())) > 0.7
    assert np.mean(list(found["pooled"].values())) > 0.55
    assert found["within"].pop("cut off") > 0
    assert min(found["within"].values()) > 0.5


def test_nothing_is_spoiled_at_amount_0_and_everything_at_1():
    others = [
        ["we", "see", "a", "red", "xylophone", "on", "the", "right", "and", "nothing", "else", "at", "all", "here"]
    ]
    for way in bench.WAYS:
        assert bench.spoil(TEXT, way, 0.0, others) == TEXT
        assert bench.spoil(TEXT, way, 1.0, others) != TEXT
        assert bench.spoil(TEXT, way, 0.6, others) == bench.spoil(TEXT, way, 0.6, others)
    rng = random.Random(0)
    words = TEXT.split()
    assert len(bench.drop(words, 1.0, rng, others).split()) == len(words) - round(0.6 * len(words))
    assert sorted(bench.shuffle(words, 1.0, rng, others).split()) == sorted(words)
    assert len(bench.repeat(words, 1.0, rng, others).split()) == 2 * len(words)
    assert bench.loop(words, 0.2, rng, others) == TEXT + " are on the left."
    assert bench.names(["A", "child", "is", "in", "the", "garden."], 1.0, rng, others) == "child, garden."


def test_correlation_is_that_of_ranks():
    amounts = np.array(bench.AMOUNTS)
    assert bench._rank(amounts, -(amounts**3)) == pytest.approx(-1)
    assert bench._rank(amounts, np.ones(6)) == 0
