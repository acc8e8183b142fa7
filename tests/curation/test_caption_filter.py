from __future__ import annotations

from dataclasses import replace

import pytest

from capwright.curation import CaptionFilter, StepRun
from capwright.judges.protocols import Answer
from capwright.scenes import vocabulary
from capwright.scorers import Corpus, Item, get_scorer
from capwright.types import DataError, OutageError, ScorerError
from exact_judges import Says, scenes

RUN = StepRun(vocabulary=vocabulary())


def vague(sample):
    """A sample with an expert caption and one that names nothing."""
    return replace(sample, references=(sample.references[0], "A child plays with a toy."))


def test_captions_out_of_bounds_go():
    samples = [vague(sample) for sample in scenes(20)]
    poor = replace(samples[0], id="poor", references=samples[0].references[1:])
    bare = replace(samples[0], id="bare", references=())
    step = CaptionFilter(scorer="tts", at_least=50)
    made = list(step([*samples, poor, bare], RUN))
    assert [sample.references for sample in made] == [*(sample.references[:1] for sample in samples), ()]
    assert [sample.id for sample in made] == [*(sample.id for sample in samples), "bare"]
    assert step.tally.dropped_samples == {"no caption is good": 1}
    assert step.tally.changed == 20


def test_values_are_those_of_the_scorer():
    samples = scenes(8)
    scorer = get_scorer("tts")
    context = scorer.prepare(Corpus(samples, vocabulary()))
    expected = [scorer.finalize(scorer.stats([Item(s, s.references[0])], context).rows.sum(0)) for s in samples]
    step = CaptionFilter(scorer="tts", output="precision", at_least=0, action="mark")
    made = list(step(samples, RUN))
    column = context.outputs.index("precision")
    marks = [sample.meta["caption_filter"]["tts.precision"] for sample in made]
    assert [mark["values"][0] for mark in marks] == pytest.approx([scores[column] for scores in expected])
    assert "by:tts|v:1|terms:45" in step.signature


def test_marks_of_two_filters_stand_beside_each_other():
    first = CaptionFilter(scorer="length", at_most=12, action="mark")
    second = CaptionFilter(scorer="tts", at_least=50, action="mark")
    samples = [vague(sample) for sample in scenes(5)]
    made = list(second(first(samples, RUN), RUN))
    assert [sample.references for sample in made] == [sample.references for sample in samples]
    for sample in made:
        marks = sample.meta["caption_filter"]
        assert marks["length.words"] == {
            "values": [len(text.strip(".").split()) for text in sample.references],
            "good": [len(text.strip(".").split()) <= 12 for text in sample.references],
        }
        assert marks["tts.micro"]["good"] == [True, False]
    assert first.tally.dropped_samples.total() == second.tally.dropped_samples.total() == 0


def test_unknown_captions_stay_and_are_counted():
    """Without names in the image there is nothing to be right about: 0/0."""
    nameless = replace(scenes(1)[0], id="nameless", terms=())
    step = CaptionFilter(scorer="tts", at_least=50)
    assert list(step([nameless], RUN)) == [nameless]
    assert step.tally.unknown == {"undefined": 1}
    strict = CaptionFilter(scorer="tts", at_least=50, unknown="drop")
    assert list(strict([nameless], RUN)) == []
    assert (strict.tally.unknown, strict.tally.left) == ({"undefined": 1}, 0)


def test_judges_that_fail_make_unknown_and_an_outage_ends_it():
    right = Says(lambda evidence, question: Answer(0, status="ok"))
    failing = Says(lambda evidence, question: Answer(None, status="timeout"))
    for judge, unknown in ((right, {}), (failing, {"timeout": 3})):
        step = CaptionFilter(scorer="caprl", at_least=0, judge=judge)
        assert len(list(step(scenes(3), RUN))) == 3
        assert step.tally.unknown == unknown
        assert step.settings["judge"] == "says:1"

    def down(evidence, question):
        raise OutageError("down")

    with pytest.raises(OutageError):
        list(CaptionFilter(scorer="caprl", at_least=0, judge=Says(down))(scenes(3), RUN))
    with pytest.raises(ValueError, match="give the judge beside options, not in them"):
        CaptionFilter(scorer="caprl", at_least=0, options={"judge": "lexical"})


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"scorer": "bleu", "at_least": 1}, DataError, "bleu: measures captions by references, and here each"),
        ({"scorer": "distinct", "at_least": 1}, DataError, "distinct: measures captions by the set they are in"),
        ({"scorer": "diversity", "at_least": 1, "options": {"idf": "coco-val2014"}}, DataError, "by several captions"),
        ({"scorer": "lenght", "at_least": 1}, ScorerError, "did you mean 'length'"),
        ({"scorer": "tts", "at_least": 1, "options": {"penality": 1}}, ScorerError, 'did you mean "penalty"'),
        ({"scorer": "tts", "at_least": 1, "output": "macros"}, ScorerError, "has no output 'macros'; it has micro"),
    ],
)
def test_what_cannot_be_filtered_by(options, error, says):
    with pytest.raises(error, match=says):
        list(CaptionFilter(**options)(scenes(2), RUN))


def test_a_bound_is_needed():
    with pytest.raises(ValueError, match="give at_least, at_most or both"):
        CaptionFilter(scorer="length")
