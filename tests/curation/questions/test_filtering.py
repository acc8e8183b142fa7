"""Questions stay when the image is needed and enough: bounds by hand, for every order of the options."""

from __future__ import annotations

import pytest

from capwright.curation import Candidate, Filter, judge, repeats
from capwright.curation.questions.filtering import NOTHING
from capwright.judges.protocols import Answer
from capwright.types import DataError, Question
from exact_judges import Guesser, Says

CUP = Question("What color is the cup?", ("red", "blue", "green", "pink"), "blue")
PICTURE = "the image"


def one(reader, rules=None, blind=None, question=CUP):
    (candidate,) = judge([(PICTURE, "1", Candidate(question))], reader, rules or Filter(), blind)
    return candidate


def sees(seen=4, blind=0):
    """Right in the first `seen` rotations with the image and the first `blind` without; else next to it."""
    asked = {PICTURE: 0, NOTHING: 0}

    def choose(evidence, question):
        asked[evidence] += 1
        right = question.options.index("blue")
        wanted = seen if evidence == PICTURE else blind
        return Answer(right if asked[evidence] <= wanted else (right + 1) % 4)

    return Says(choose)


@pytest.mark.parametrize(
    ("seen", "blind", "verdict", "accuracies"),
    [
        (4, 0, "kept", (1.0, 0.0)),
        (3, 0, "not_seen", (0.75, None)),  # the bound is strict
        (0, 0, "not_seen", (0.0, None)),
        (4, 1, "blind", (1.0, 0.25)),  # and so is this one
        (4, 4, "blind", (1.0, 1.0)),
    ],
)
def test_the_bounds_of_the_paper(seen, blind, verdict, accuracies):
    found = one(sees(seen, blind))
    assert (found.verdict, (found.seen, found.blind)) == (verdict, accuracies)


def test_other_bounds():
    assert one(sees(3), Filter(seen=0.7)).verdict == "kept"
    assert one(sees(4, 1), Filter(blind=0.26)).verdict == "kept"
    assert one(sees(4, 4), Filter(blind=1.01)).verdict == "kept"
    assert one(sees(1), Filter(rotations=1)).seen == 1.0


def test_a_reader_that_likes_a_letter_sees_nothing():
    for place in range(4):
        assert one(Says(lambda evidence, question, place=place: Answer(place))).seen == 0.25


def test_rotations_show_every_option_everywhere_and_never_the_answer():
    reader = Guesser(known={CUP.text: "blue"})
    one(reader)
    with_image = [question for evidence, question in reader.asked if evidence == PICTURE]
    assert [question.options for question in with_image] == [
        ("red", "blue", "green", "pink"), ("blue", "green", "pink", "red"),
        ("green", "pink", "red", "blue"), ("pink", "red", "blue", "green"),
    ]  # fmt: skip
    assert {question.answer for _, question in reader.asked} == {""}


def test_abstaining_is_not_right():
    assert one(Says(lambda evidence, question: Answer(None, abstained=True))).verdict == "not_seen"
    blind = Says(lambda evidence, question: Answer(None, abstained=True))
    assert one(sees(4), blind=blind).verdict == "kept"


@pytest.mark.parametrize("status", ["judge_error", "timeout"])
def test_a_failed_call_is_unknown_not_wrong(status):
    asked = []

    def fails_once(evidence, question):
        asked.append(question)
        return Answer(None, status=status) if len(asked) == 2 else Answer(question.options.index("blue"))

    found = one(Says(fails_once))
    assert (found.verdict, found.note, found.seen) == ("unknown", status, None)
    found = one(sees(4), blind=Says(lambda evidence, question: Answer(None, status=status)))
    assert (found.verdict, found.note, found.seen, found.blind) == ("unknown", status, 1.0, None)


def test_an_option_that_is_not_there_is_unknown():
    assert one(Says(lambda evidence, question: Answer(9))).note == "unparseable"


def test_only_questions_that_passed_are_asked_blind():
    blind = Guesser()
    asked = [(PICTURE, "1", Candidate(CUP)), (PICTURE, "1", Candidate(Question("?", CUP.options, "red")))]
    judged = judge(asked, Says(lambda evidence, question: Answer(question.options.index("blue"))), Filter(), blind)
    assert [candidate.verdict for candidate in judged] == ["kept", "not_seen"]
    assert [question.text for _, question in blind.asked] == [CUP.text] * 4


@pytest.mark.parametrize(("right", "verdict"), [(6, "kept"), (7, "blind")])
def test_the_blind_rule_of_captionqa(right, verdict):
    """Ten tries in ten different orders; four options: seven right answers are too many."""
    assert one(sees(4, right), Filter(blind_rule="captionqa")).verdict == verdict
    blind = Guesser()
    one(sees(4), Filter(blind_rule="captionqa"), blind)
    orders = [question.options for _, question in blind.asked]
    assert len(orders) == len(set(orders)) == 10
    again = Guesser()
    other = Candidate(Question("Another?", CUP.options, "red"))
    knows = {"Another?": "red", CUP.text: "blue"}
    right = Says(lambda evidence, question: Answer(question.options.index(knows[question.text])))
    judge([(PICTURE, "0", other), (PICTURE, "1", Candidate(CUP))], right, Filter(blind_rule="captionqa"), again)
    assert [question.options for _, question in again.asked][10:] == orders, "orders do not depend on who else is asked"


@pytest.mark.parametrize(
    "wrong",
    [{"rotations": 0}, {"rotations": 5}, {"seen": 1.0}, {"seen": float("nan")}, {"blind": 0.0}, {"blind": float("nan")},
     {"blind_rule": "mine"}, {"tries": 0}, {"tries": 25}],
)  # fmt: skip
def test_settings_out_of_range(wrong):
    with pytest.raises(DataError, match=next(iter(wrong)).split("_")[0]):
        Filter(**wrong)


def test_repeats():
    def asks(text, answer):
        return Question(text, (answer, "x", "y", "z"), answer)

    questions = [
        asks("What color is the cup on the table?", "red"),
        asks("what colour is the pegboard?", "red"),
        asks("What color is the CUP, on the table", "Red."),  # the same
        asks("What color is the cup on the table?", "blue"),  # another answer: answering will tell
        asks("What color is the big cup on the table?", "red"),  # 7 of 8 words
        asks("Is the cup red?", "red"),
    ]
    assert repeats(questions) == [None, None, 0, None, 0, None]
    assert repeats(questions, same=1.0) == [None, None, 0, None, None, None]
    assert repeats(questions, same=1.1) == [None] * 6
    assert repeats([]) == []
