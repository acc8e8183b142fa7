from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capwright.judges.client.messages import ChatAnswer
from capwright.judges.llm_judge import LLMJudge
from capwright.judges.protocols import Split, Verdict
from capwright.scenes import facts, sample_scene, to_sample
from capwright.scenes.lexical_judge import LexicalJudge
from capwright.scorers import Corpus, Item, RewardView, explain
from capwright.scorers.claims._claims import facts_of, split_texts, verify_claims
from capwright.scorers.claims.balcap import BalCap
from capwright.scorers.claims.cccaption import CCCaption
from capwright.scorers.claims.claimdiff import ClaimDiff
from capwright.scorers.claims.dcscore import DCScore
from capwright.scorers.claims.dnli import DNLI
from capwright.types import NO_IMAGE, Caption, DataError, ModelError, Sample, ScorerError
from fake_claims import PICTURE, FakeClaims, measure, scores
from lexical_server import LexicalChat

ALL = [DCScore, BalCap, DNLI, ClaimDiff]


@pytest.mark.parametrize("make", ALL)
def test_questions_are_asked_in_batches_and_once(make):
    asked = FakeClaims(true=["red ball"])
    options = {"trials": 1} if make is DCScore else {}
    context, stats, _ = measure(make(asked, evidence="image", **options), ["red ball. cat", "a dog", "red ball. cat"])
    assert asked.count("split") == 1
    assert asked.count("verify") == (2 if make is ClaimDiff else 1)
    assert asked.count("match") <= 1
    assert len(asked.calls[0][1]) == len(set(asked.calls[0][1]))
    assert stats.rows[0].tolist() == stats.rows[2].tolist()
    before = len(asked.calls)
    make(asked, evidence="image", **options).stats([Item(PICTURE, "red ball. cat")], context)
    assert [call[1] for call in asked.calls[before:] if call[0] == "split"] == [["red ball. cat"]]  # not the reference


@pytest.mark.parametrize("make", ALL)
def test_a_batch_gives_what_single_captions_give(make):
    captions = ["red ball. blue box", "", "red ball. perhaps happy. red ball", "nothing of it"]
    asked = FakeClaims(true=["red ball", "blue box", "perhaps happy"])
    _, together, _ = measure(make(asked), captions)
    alone = [measure(make(asked), [caption])[1].rows[0] for caption in captions]
    np.testing.assert_array_equal(together.rows, np.array(alone))
    _, backwards, _ = measure(make(asked), captions[::-1])
    np.testing.assert_array_equal(backwards.rows[::-1], together.rows)
    assert together.status == ("ok", "empty", "ok", "ok")


@pytest.mark.parametrize("make", ALL)
def test_what_could_not_be_asked_is_unknown_and_never_zero(make):
    asked = FakeClaims(["red ball"], faults={"bad": "timeout", "a torn text": "unparseable"})
    context, stats, table = measure(make(asked), ["red ball. bad", "a torn text", "red ball"])
    assert stats.status == ("timeout", "unparseable", "ok")
    assert not stats.rows[:2].any()
    assert np.isnan(table[:2, 0]).all()
    assert np.isfinite(table[2, 0])
    reward = RewardView(make(asked), context)([PICTURE], [[Caption("red ball. bad"), Caption("red ball")]])
    assert reward.known.tolist() == [[False, True]]


@pytest.mark.parametrize("make", ALL)
def test_a_failed_reference_is_asked_again(make):
    asked = FakeClaims(["red ball"], faults={PICTURE.references[0]: "judge_error"})
    scorer = make(asked, facts="references")
    context, stats, _ = measure(scorer, ["red ball"])
    assert stats.status == ("judge_error",)
    asked.faults.clear()
    assert scorer.stats([Item(PICTURE, "red ball")], context).status == ("ok",)


@pytest.mark.parametrize("make", ALL)
def test_statuses_of_captions_stay(make):
    asked = FakeClaims()
    _, stats, _ = measure(make(asked), ["red ball"], status="refusal")
    assert stats.status == ("refusal",)
    assert not stats.rows.any()
    assert asked.calls == []


@pytest.mark.parametrize("make", ALL)
def test_a_sample_without_image_or_reference_is_unknown(make):
    bare = Sample("bare", NO_IMAGE, PICTURE.references)
    mute = Sample("mute", Path("2.png"))
    asked = FakeClaims(["red ball"])
    _, stats, table = measure(
        make(asked, evidence="image", facts="references"), ["red ball"] * 3, [PICTURE, bare, mute]
    )
    assert stats.status[:2] == ("ok", "missing_image")
    assert np.isnan(table[1, 0])
    if make in (DCScore, ClaimDiff):
        assert np.isnan(table[2]).all()
    if make is BalCap:
        assert np.isnan(table[2, 2])
        assert table[2, 1] == 1


def test_dcscore_by_hand_with_duplicate_hits_and_extras():
    # Facts o1, o2, o3. Claims: a and b state o1 and are true, c states o1 and is not; d is true and states none; e is
    # neither; "perhaps f" is an inference, true, and states o2.
    sample = Sample("1", Path("1.png"), meta={"facts": ["o1", {"sentence": "o2"}, "o3"]})
    states = {"a": "o1", "b": "o1", "c": "o1", "perhaps f": "o2"}
    asked = FakeClaims(["a", "b", "d", "perhaps f"], states=states)
    found, status = scores(DCScore(asked), "a. b. c. d. e. perhaps f", sample)
    assert status == "ok"
    assert found["precision"] == pytest.approx(100 * 4 / 6)
    assert found["recall"] == pytest.approx(100 * (1 / 3 + 1 / 3 + 1 + 1) / (3 + 1))
    assert found["f1"] == pytest.approx(100 * 2 / 3)
    # Without f: P = 3/5, R = (2/3 + 1)/(3 + 1) = 5/12, F1 = 30/61.
    assert found["f1_descriptive"] == pytest.approx(100 * 30 / 61)
    assert found["dcscore"] == pytest.approx(50 * (2 / 3 + 30 / 61))


def test_dcscore_shares_descriptive_credit_with_inferences_only_in_strict_paper():
    sample = Sample("1", Path("1.png"), meta={"facts": ["o1"]})
    asked = FakeClaims(["a", "perhaps b"], states={"a": "o1", "perhaps b": "o1"})
    ours, _ = scores(DCScore(asked), "a. perhaps b", sample)
    theirs, _ = scores(DCScore(asked, strict_paper=True), "a. perhaps b", sample)
    assert ours["f1"] == theirs["f1"] == 100
    assert ours["f1_descriptive"] == 100
    assert theirs["f1_descriptive"] == pytest.approx(100 * 2 / 3)  # P = 1, R = 1/2


def test_dcscore_of_captions_without_claims_is_zero():
    asked = FakeClaims()
    for caption, status in (("", "empty"), ("...", "ok")):
        found, said = scores(DCScore(asked), caption)
        assert said == status
        assert set(found.values()) == {0.0}
    only_inferred, _ = scores(DCScore(FakeClaims(["perhaps x"])), "perhaps x")
    assert only_inferred["f1_descriptive"] == 0 < only_inferred["f1"]


@pytest.mark.parametrize("caption", ["a", "a. wrong", "a. b", "wrong"])
def test_dcscore_a_true_claim_more_never_lowers_precision_or_recall(caption):
    sample = Sample("1", Path("1.png"), meta={"facts": ["a", "b", "c"]})
    asked = FakeClaims(["a", "b", "extra"])
    less, _ = scores(DCScore(asked), caption, sample)
    more, _ = scores(DCScore(asked), f"{caption}. extra", sample)
    assert more["precision"] >= less["precision"]
    assert more["recall"] >= less["recall"]


class Wavering(FakeClaims):
    """Each seed has its own truth; seeds in `lost` time out."""

    lost: tuple[int, ...] = ()

    def verify(self, asked, *, seed=0):
        self.true = {"a"} if seed % 3 == 0 else {"a", "b"}
        if seed in self.lost:
            return [[Verdict(None, status="timeout")] * len(claims) for claims, _ in asked]
        return super().verify(asked, seed=seed)


def test_dcscore_takes_the_mean_of_nine_trials():
    sample = Sample("1", Path("1.png"), meta={"facts": ["a", "b"]})
    asked = Wavering()
    found, _ = scores(DCScore(asked), "a. b", sample)
    assert asked.count("match") == asked.count("verify") == 3
    assert {call[2] for call in asked.calls if call[0] == "verify"} == {0, 1, 2}
    assert found["precision"] == pytest.approx(100 * (0.5 + 1 + 1) / 3)
    asked.lost = (0,)  # a failed trial is left out, not counted as untrue
    assert scores(DCScore(asked), "a. b", sample)[0]["precision"] == 100
    asked.lost = (0, 1, 2)
    assert scores(DCScore(asked), "a. b", sample)[1] == "timeout"


def test_dnli_by_hand():
    asked = FakeClaims()
    sample = Sample("1", Path("1.png"), ("a. b. no c. d. e",))
    found, _ = scores(DNLI(asked), "a. b. c. x", sample)
    assert found == {
        "precision": 0.5,
        "recall": 2 / 5,
        "contradiction": 0.25,
        "contradiction_recall": 1 / 5,
        "neutral_recall": 1 / 5,
    }
    scorer = DNLI(asked)
    _, stats, table = measure(scorer, ["a. b. c. x", ""], sample)
    np.testing.assert_allclose(scorer.shape(stats.rows), [[0.5, 0.75], [0, 0]])
    assert table[1, 0] == 0
    assert np.isnan(table[1, 2])


def test_a_failed_match_is_unknown():
    asked = FakeClaims(["red ball"], faults={"cat": "no match"})
    assert scores(DCScore(asked), "cat")[1] == "judge_error"


def test_answers_that_do_not_fit_are_unparseable():
    class Short(FakeClaims):
        def verify(self, asked, *, seed=0):
            return [verdicts[1:] for verdicts in super().verify(asked)]

        def match(self, asked, *, seed=0):
            return [[99] * len(claims) for claims, _ in asked]

    assert [scores(make(Short()), "red ball. cat")[1] for make in ALL] == ["unparseable"] * 4
    assert verify_claims(Short(), [(["a"], "a")], 0) == [([], "unparseable")]


def test_an_judge_with_too_few_answers_is_an_error():
    class Few(FakeClaims):
        def split(self, texts, *, seed=0):
            return []

    with pytest.raises(ScorerError, match="0 answers to 1"):
        split_texts(Few(), ["a"], 0)


def test_claims_that_are_said_twice_or_blank_count_once():
    class Sloppy(FakeClaims):
        def split(self, texts, *, seed=0):
            return [Split(("A cat.", " a  cat", "", "Dog"), (True, False, True, False)) for _ in texts]

    assert split_texts(Sloppy(), ["x", " "], 0) == [Split(("A cat.", "Dog"), (True, False)), Split(())]


def test_facts_that_can_not_be_read_name_the_sample():
    assert facts_of(Sample("s", NO_IMAGE, meta={"facts": ["a", "a", " "]})) == ("a",)
    with pytest.raises(DataError, match=r"sample 's': meta\.facts\[1\]"):
        facts_of(Sample("s", NO_IMAGE, meta={"facts": ["a", {"text": "b"}]}))
    with pytest.raises(DataError, match=r"sample 's': meta\.facts must be a list"):
        facts_of(Sample("s", NO_IMAGE, meta={"facts": "a"}))


@pytest.mark.parametrize("make", ALL)
def test_bad_options_are_refused(make):
    with pytest.raises(ScorerError, match="evidence: must be one of"):
        make(evidence="memory")
    for nobody in (object(), None, "", 3, {"model": "x"}):
        with pytest.raises(ScorerError, match="judge: must be a name"):
            make(nobody)
    with pytest.raises(ScorerError, match="seed: must be"):
        make(seed=-1)
    with pytest.raises(ModelError):
        make("nobody at all").prepare(Corpus([PICTURE]))
    with pytest.raises(DataError, match="no sample has"):
        make(FakeClaims(), evidence="image").prepare(Corpus([Sample("1", NO_IMAGE, ("a",))]))


def test_signatures_say_who_was_asked_and_how():
    scorer = DCScore(FakeClaims())
    context = scorer.prepare(Corpus([PICTURE]))
    text = r"dcscore\|assistant:fake:1\|evidence:image\|facts:references/1#[0-9a-f]{8}\|trials:3\|seed:0\|v:1"
    assert re.fullmatch(text, scorer.signature(context))
    strict = DCScore(FakeClaims(), strict_paper=True)
    assert "|strict:yes|" in strict.signature(strict.prepare(Corpus([PICTURE])))
    assert strict.prepare(Corpus([PICTURE])).fingerprint != context.fingerprint


@pytest.mark.parametrize("make", [*ALL, CCCaption])
def test_other_facts_and_references_are_another_signature(make, scenes):
    def sign(samples, **options):
        scorer = make(**options)
        context = scorer.prepare(Corpus(samples))
        return scorer.signature(context), context.fingerprint

    some = scenes[:6]
    meta = {**some[3].meta, "facts": [*some[3].meta["facts"][1:], "There is a dragon."]}
    facts_changed = [*some[:3], replace(some[3], meta=meta), *some[4:]]
    told_changed = [replace(some[0], references=("There is a dragon.",)), *some[1:]]
    assert sign(some)[0] == sign(some[::-1])[0]
    assert re.search(r"\|evidence:(facts|references)/6#[0-9a-f]{8}\|", sign(some)[0])
    for one, other in zip(sign(some, evidence="facts"), sign(facts_changed, evidence="facts")):
        assert one != other
    for one, other in zip(sign(some, evidence="references"), sign(told_changed, evidence="references")):
        assert one != other


def test_what_is_not_looked_at_is_not_in_the_signature(scenes):
    def sign(scorer, *samples):
        return scorer.signature(scorer.prepare(Corpus([*samples, *scenes[1:4]])))

    other = replace(scenes[0], meta={**scenes[0].meta, "facts": ["There is a dragon."]})
    for options in ({"evidence": "references", "facts": "references"}, {"parts": "recall", "facts": "references"}):
        assert sign(BalCap(**options), scenes[0]) == sign(BalCap(**options), other)
    assert sign(BalCap(parts="recall"), scenes[0]) != sign(BalCap(parts="recall"), other)


def test_explaining_shows_claims_and_verdicts():
    scorer = DCScore(FakeClaims(["red ball"]), trials=1)
    context = scorer.prepare(Corpus([PICTURE]))
    [shown] = explain(scorer, [Item(PICTURE, "red ball. cat")], context)
    assert shown["claims"] == [
        {"claim": "red ball", "true": 1.0, "fact": "red ball", "descriptive": True},
        {"claim": "cat", "true": 0.0, "fact": None, "descriptive": True},
    ]
    assert shown["missed"] == ["blue box"]


# With the reader of the built-in world ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return [to_sample(sample_scene(seed=5, index=i), folder / f"{i}.png") for i in range(40)]


def test_facts_of_scenes_are_true_of_themselves(scenes):
    reader = LexicalJudge()
    for sample in scenes:
        stated = facts_of(sample)
        assert stated == tuple(dict.fromkeys(fact.sentence for fact in facts(sample_scene(5, scenes.index(sample)))))
        [verdicts] = reader.verify([(stated, " ".join(stated))])
        assert {verdict.verdict for verdict in verdicts} == {"entailed"}


@pytest.mark.parametrize("make", ALL)
def test_expert_captions_beat_casual_ones(make, scenes):
    def mean(captions):
        _context, stats, _ = measure(make(), captions, scenes)
        assert stats.known.all()
        # Casual captions are all true, so what DNLI tells apart is recall.
        return make().finalize(stats.rows.sum(0))[1 if make is DNLI else 0]

    experts = mean([sample.references[0] for sample in scenes])
    casual = mean([sample.meta["casual"][0] for sample in scenes])
    strangers = mean([sample.references[0] for sample in scenes[1:] + scenes[:1]])
    assert experts > casual > strangers
    assert experts == pytest.approx({DCScore: 100, ClaimDiff: 0.5}.get(make, 1.0), rel=0.03)


@pytest.mark.parametrize("make", [*ALL, CCCaption])
def test_a_chat_model_that_reads_as_well_gives_the_same_numbers(make, scenes):
    some = scenes[:8]
    captions = [sample.meta["casual"][0] for sample in some[1:] + some[:1]]
    options = {"trials": 1} if make is DCScore else {}
    evidence = "references" if make is DNLI else "facts"
    asked = LLMJudge(LexicalChat(), model="lexical")
    _, stats, _ = measure(make(asked, evidence=evidence, **options), captions, some)
    assert set(stats.status) == {"ok"}
    np.testing.assert_array_equal(stats.rows, measure(make(evidence=evidence), captions, some)[1].rows)


@pytest.mark.parametrize("make", [*ALL, CCCaption])
def test_a_chat_model_that_fails_makes_only_its_captions_unknown(make, scenes):
    some = scenes[:8]
    captions = [sample.meta["casual"][0] for sample in some]
    spoiled = html.escape(captions[3], quote=False)[:40]

    def spoil(request, text):
        hit = request.protocol.startswith("split") and spoiled in request.messages[1].text
        return ChatAnswer("timeout", "") if hit else None

    asked = LLMJudge(LexicalChat(spoil), model="lexical")
    _, stats, _ = measure(make(asked, evidence="facts"), captions, some)
    assert stats.status == tuple("timeout" if i == 3 else "ok" for i in range(8))
