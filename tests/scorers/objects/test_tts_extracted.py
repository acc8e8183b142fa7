from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from capwright.judges.protocols import Verdict
from capwright.scorers import Corpus, Item, RewardView
from capwright.scorers.objects._open_vocabulary import claim_of
from capwright.scorers.objects.tts_extracted import ExtractedTTS
from capwright.types import NO_IMAGE, Caption, DataError, NotInstalledError, Sample, ScorerError, Term
from fake_claims import FakeClaims, FakeWriter

TERMS = (Term("geoboard", aliases=("peg square",)), Term("abacus"), Term("toy", level="vague"))
SAMPLE = Sample("1", Path("1.png"), ("a reference",), TERMS)


class Judge(FakeWriter):
    """Names the words of a caption; a thing is there when it is in `there`, and lost when it is in `faults`."""

    def __init__(self, there=(), faults=()):
        super().__init__({}, faults=faults)
        self.there = {claim_of(thing) for thing in there}

    def write(self, task, given, *, seed=0):
        self.calls.append((f"write {task}", list(given), seed))
        return [{"status": "ok", "terms": one["caption"].split(", ")} for one in given]

    def _verdict(self, claim, evidence):
        if claim in self.faults:
            return Verdict(None, status=self.faults[claim])
        return Verdict("entailed" if claim in self.there else "contradicted")


def measure(asked, captions, sample=SAMPLE, **options):
    scorer = ExtractedTTS(asked, **options)
    context = scorer.prepare(Corpus([SAMPLE]))
    return scorer, context, scorer.stats([Item(sample, caption) for caption in captions], context)


def test_by_hand():
    asked = Judge(["table", "toy"])
    scorer, _, stats = measure(asked, ["Wooden geoboards, table, toy, kite, drum", "peg square, abacus", ""])
    assert stats.rows.tolist() == [[1, 2, 2], [2, 2, 0], [0, 2, 0]]
    assert stats.evidence[0] == {
        "right": ["geoboard"],
        "wrong": ["drum", "kite"],
        "missed": ["abacus"],
        "other": ["table", "toy"],
    }
    np.testing.assert_allclose(scorer.finalize(stats.rows[0]), [50, 100 / 3, 40])
    np.testing.assert_allclose(scorer.shape(stats.rows)[:, 0], [1 / 4, 1, 0])
    assert asked.count("write terms") == asked.count("verify") == 1
    assert len(asked.calls[1][1]) == 1  # what is a hit is not asked about


def test_a_term_named_in_two_ways_is_one_hit():
    assert measure(Judge(), ["geoboard, peg square, geoboards"])[2].rows.tolist() == [[1, 2, 0]]


def test_a_failed_answer_makes_the_caption_unknown():
    asked = Judge(faults={claim_of("kite"): "timeout"})
    scorer, context, stats = measure(asked, ["geoboard, kite", "geoboard"])
    assert stats.status == ("timeout", "ok")
    told = RewardView(scorer, context)([SAMPLE], [[Caption("geoboard, kite"), Caption("geoboard")]])
    assert told.known.tolist() == [[False, True]]
    assert told.values[0, 1] == 0.5


def test_samples_without_terms_or_image():
    scorer, _, stats = measure(Judge(), ["kite"], Sample("2", Path("2.png")))
    assert np.isnan(scorer.shape(stats.rows)).all()
    assert measure(Judge(), ["kite"], Sample("3", NO_IMAGE, (), TERMS))[2].status == ("missing_image",)
    with pytest.raises(DataError, match="tts-extracted: neither the vocabulary nor any sample has a term"):
        ExtractedTTS(Judge()).prepare(Corpus([Sample("2", Path("2.png"))]))


def test_what_it_needs():
    with pytest.raises(NotInstalledError, match="^tts-extracted: not installed: .* use tts"):
        ExtractedTTS(FakeClaims()).prepare(Corpus([SAMPLE]))
    with pytest.raises(ScorerError, match="penalty: must be"):
        ExtractedTTS(penalty=-1)
    scorer, context, _ = measure(Judge(), [])
    start, _, rest = scorer.signature(context).partition("|terms:")
    assert start == "tts-extracted|assistant:fake:1|evidence:image"
    assert re.fullmatch(r"2#[0-9a-f]{8}\|match:longest,plural\|seed:0\|v:1", rest)


def test_other_terms_are_another_score_and_another_penalty_another_reward():
    def sign(penalty=1.0, terms=TERMS, output="penalized"):
        scorer = ExtractedTTS(Judge(), penalty=penalty)
        return RewardView(scorer, scorer.prepare(Corpus([Sample("1", Path("1.png"), (), terms)])), output).signature

    assert sign().endswith("|reward:penalized|penalty:1|truncated:score")
    assert sign(penalty=2) != sign()
    assert sign(penalty=2, output="micro") == sign(output="micro")
    assert sign(terms=TERMS[:1]) != sign()
