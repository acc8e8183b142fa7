from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capwright.scorers import Corpus, Item, RewardView, explain
from capwright.scorers.questions.vdcscore import VDCScore
from capwright.types import Caption, DataError, Question, Sample, ScorerError

COLOR = Question("color", (), "dark red", "color")
COUNT = Question("count", ("one", "two"), "two", "count")
SAMPLE = Sample("a", Path("a.png"), questions=(COLOR, COUNT))
OTHER = Sample("b", Path("b.png"), questions=(COLOR, Question("Not answered?", (), " ")))


class Writer:
    """Answers "color" with the word after "color" in the caption; marks by words in common. "fail" fails."""

    signature = "writer"

    def __init__(self, **marks):
        self.calls = []
        self.marks = marks

    def write(self, task, given, *, seed=0):
        self.calls.append((task, [dict(one) for one in given]))
        return [getattr(self, task)(one) for one in given]

    def answer(self, one):
        words = one["caption"].split()
        if one["question"] not in words:
            return {"status": "ok", "answer": "", "told": False}
        said = words[words.index(one["question"]) + 1]
        return {"status": "timeout"} if said == "fail" else {"status": "ok", "answer": said, "told": True}

    def mark(self, one):
        if one["answer"] in self.marks:
            return self.marks[one["answer"]]
        same = len(set(one["answer"].split()) & set(one["right"].split()))
        return {"status": "ok", "correct": bool(same), "score": 5 if one["answer"] == one["right"] else 3 * same}


def run(items, writer=None, samples=(SAMPLE, OTHER)):
    scorer = VDCScore(writer or Writer())
    context = scorer.prepare(Corpus(samples))
    stats = scorer.stats(items, context)
    return stats, dict(zip(context.outputs, scorer.finalize(stats.rows.sum(0)).tolist()))


def test_by_hand():
    # a: red of dark red (right, 3), count right (5); b: blue (wrong, 0). Each image weighs the same.
    stats, found = run([Item(SAMPLE, "color red count two"), Item(OTHER, "color blue")])
    assert stats.rows.tolist() == [[1, 4, 0, 1, 0, 2], [0, 0, 0, 1, 0, 1]]
    assert found == {"accuracy": 0.5, "mark": 2, "abstained": 0, "unanswered": 0}


def test_what_is_not_told_is_wrong_and_is_not_marked():
    writer = Writer()
    stats, _ = run([Item(SAMPLE, "color red"), Item(OTHER, "  ")], writer)
    assert stats.rows.tolist() == [[0.5, 1.5, 0.5, 1, 0, 2], [0, 0, 1, 1, 0, 1]]
    assert stats.status == ("ok", "empty")
    assert [(task, len(given)) for task, given in writer.calls] == [("answer", 2), ("mark", 1)]


def test_failures_are_unknown_at_either_step():
    stats, found = run([Item(SAMPLE, "color fail count two")])
    assert stats.rows[0].tolist() == [1, 5, 0, 1, 1, 2]
    assert found["unanswered"] == 0.5
    stats, found = run([Item(OTHER, "color fail")])
    assert stats.status == ("timeout",)
    assert np.isnan(found["accuracy"])


@pytest.mark.parametrize(
    ("record", "status"),
    [
        ({"status": "judge_error"}, "judge_error"),
        ({"status": "ok", "correct": "yes", "score": 5}, "unparseable"),
        ({"status": "ok", "correct": True, "score": 6}, "unparseable"),
        ({"status": "ok", "correct": True, "score": "5"}, "unparseable"),
        ({"status": "ok", "correct": True, "score": True}, "unparseable"),
        ({"status": "ok"}, "unparseable"),
        ({"status": "strange"}, "unparseable"),
    ],
)
def test_a_mark_that_is_none_is_not_0(record, status):
    stats, found = run([Item(OTHER, "color red")], Writer(red=record))
    assert stats.status == (status,)
    assert np.isnan(found["mark"])


def test_two_calls_and_nothing_twice():
    writer = Writer()
    items = [Item(SAMPLE, "color red"), Item(SAMPLE, "color red"), Item(OTHER, "color red")]
    stats, _ = run(items, writer)
    assert [(task, len(given)) for task, given in writer.calls] == [("answer", 2), ("mark", 1)]
    assert all(set(given) == {"caption", "question"} for given in writer.calls[0][1])  # the key stays here
    np.testing.assert_array_equal(run(items[::-1])[0].rows[::-1], stats.rows)


def test_unknown_captions_and_samples_without_questions():
    bare = Sample("bare", Path("x"))
    writer = Writer()
    stats, found = run([Item(bare, "words"), Item(SAMPLE, "", "refusal")], writer)
    assert stats.status == ("ok", "refusal")
    assert writer.calls == []
    assert np.isnan(found["accuracy"])
    with pytest.raises(DataError, match="vdcscore: no sample has a question with an answer"):
        VDCScore(Writer()).prepare(Corpus([bare]))


def test_explain_and_reward():
    scorer = VDCScore(Writer())
    context = scorer.prepare(Corpus([SAMPLE]))
    (found,) = explain(scorer, [Item(SAMPLE, "color blue count fail")], context)
    assert [(one["result"], one["said"], one["mark"]) for one in found["questions"]] == [
        ("wrong", "blue", 0),
        ("unknown", "", None),
    ]
    reward = RewardView(scorer, context)([SAMPLE], [[Caption("color red count two"), Caption("")]])
    assert reward.values.tolist() == [[1, 0]]
    assert reward.parts["mark"].tolist() == [[0.8, 0]]


def test_who_can_be_asked():
    with pytest.raises(ScorerError, match="vdcscore: LexicalJudge cannot answer open questions; name"):
        VDCScore("lexical").prepare(Corpus([SAMPLE]))
    with pytest.raises(ScorerError, match="vdcscore.judge: must be"):
        VDCScore(None)
    with pytest.raises(ScorerError, match="vdcscore.seed"):
        VDCScore(Writer(), seed=1.5)

    class Short(Writer):
        def write(self, task, given, *, seed=0):
            return []

    class Broken(Writer):
        def write(self, task, given, *, seed=0):
            raise ValueError("no such task")

    with pytest.raises(ScorerError, match="0 answers to 1 of 'answer'"):
        run([Item(OTHER, "color red")], Short())
    with pytest.raises(ScorerError, match="vdcscore: the judge failed on 1 of 'answer': no such task"):
        run([Item(OTHER, "color red")], Broken())


def test_signature():
    scorer = VDCScore(Writer())
    context = scorer.prepare(Corpus([SAMPLE, OTHER]))
    assert scorer.signature(context).startswith("vdcscore|seed:0|questions:3#")
    assert VDCScore(Writer(), seed=1).signature(context).startswith("vdcscore|seed:1|")
    assert scorer.signature(context).endswith("|by:writer|v:1")
