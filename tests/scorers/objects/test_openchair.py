from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capwright.scorers import Corpus, Item, RewardView
from capwright.scorers.objects.openchair import OpenCHAIR
from capwright.types import NO_IMAGE, Caption, NotInstalledError, Sample
from fake_claims import FakeClaims, FakeWriter

SAMPLE = Sample("1", Path("1.png"), ("a reference",))
CLAIM = "There is this in the image: {}."


class Judge(FakeWriter):
    """Says of each thing what a test says: "entailed", "contradicted" or "neutral"."""

    def __init__(self, records, things, faults=()):
        super().__init__({("terms", caption): record for caption, record in records.items()}, faults=faults)
        self.things = {CLAIM.format(thing): word for thing, word in things.items()}

    def _verdict(self, claim, evidence):
        from capwright.judges.protocols import Verdict

        return Verdict(None, status=self.faults[claim]) if claim in self.faults else Verdict(self.things[claim])


def measure(asked, captions, sample=SAMPLE, **options):
    scorer = OpenCHAIR(asked, **options)
    context = scorer.prepare(Corpus([SAMPLE]))
    return scorer, context, scorer.stats([Item(sample, caption) for caption in captions], context)


def test_things_judged_absent_by_hand():
    terms = {"one": {"terms": ["Dog", " dog ", "photo", "cat", "kite"]}, "two": {"terms": ["dog"]}}
    asked = Judge(terms, {"dog": "entailed", "cat": "contradicted", "kite": "neutral"})
    scorer, _, stats = measure(asked, ["one", "two", "one"])
    # By a text, what is not mentioned is absent.
    assert stats.rows.tolist() == [[2, 1, 0, 1], [0, 1, 0, 1], [2, 1, 0, 1]]
    assert scorer.finalize(stats.rows[:2].sum(0)).tolist() == [0.5, 0]
    np.testing.assert_allclose(scorer.shape(stats.rows)[:, 0], [1 / 3, 1, 1 / 3])
    assert asked.count("verify") == asked.count("write terms") == 1
    assert len(asked.calls[0][1]) == 2
    # By an image, what nobody can tell is in no share but its own.
    scorer, _, stats = measure(asked, ["one"], evidence="image")
    assert stats.rows.tolist() == [[1, 1, 1, 1]]
    assert scorer.finalize(stats.rows[0]).tolist() == [0.5, pytest.approx(1 / 3)]


def test_failed_answers_never_vanish_from_the_denominator():
    asked = Judge(
        {
            "ok": {"terms": ["dog"]},
            "lost": {"terms": ["dog", "cat"]},
            "down": {"status": "timeout"},
            "odd": {"terms": 3},
        },
        {"dog": "entailed"},
        faults={CLAIM.format("cat"): "judge_error"},
    )
    scorer, context, stats = measure(asked, ["ok", "lost", "down", "odd"])
    assert stats.status == ("ok", "judge_error", "timeout", "unparseable")
    assert not stats.rows[1:].any()
    told = RewardView(scorer, context)([SAMPLE], [[Caption("ok"), Caption("lost"), Caption("")]])
    assert told.known.tolist() == [[True, False, True]]
    assert told.values[0, [0, 2]].tolist() == [1, 0]


def test_without_evidence_nothing_is_known():
    asked = Judge({"ok": {"terms": ["dog"]}}, {})
    scorer, _, stats = measure(asked, ["ok"], Sample("2", NO_IMAGE))
    assert np.isnan(scorer.finalize(stats.rows[0])).all()
    assert np.isnan(scorer.shape(stats.rows)).all()
    assert measure(asked, ["ok"], Sample("2", NO_IMAGE), evidence="image")[2].status == ("missing_image",)


def test_without_a_language_model_it_is_not_installed():
    for judge in (FakeClaims(), "lexical"):
        with pytest.raises(NotInstalledError, match=r"^openchair: not installed: a language model .* use chair"):
            OpenCHAIR(judge).prepare(Corpus([SAMPLE]))


def test_the_signature_names_judge_and_evidence():
    scorer, context, _ = measure(Judge({}, {}), [])
    assert scorer.signature(context).startswith("openchair|assistant:fake:1|evidence:references/1#")
