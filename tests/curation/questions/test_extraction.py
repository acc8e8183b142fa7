"""What a writer wrote becomes questions that can be asked, or says why not; nothing in it can break the job."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.curation.questions.extraction import MALFORMED, extract, fold, validate

GOOD = {"question": "What color is the cup?", "options": ["red", "blue", "green", "pink"], "answer": "blue"}


def with_(**changes):
    return GOOD | changes


def only(record):
    (candidate,) = extract(record)
    return candidate


def test_a_good_question():
    candidate = only({"questions": [with_(kind="color")]})
    assert candidate.verdict == ""
    question = candidate.question
    assert (question.text, question.options, question.answer, question.kind) == (
        "What color is the cup?", ("red", "blue", "green", "pink"), "blue", "color",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"question": "  "}, "no_question"),
        ({"question": 7}, "no_question"),
        ({"question": "x" * 600}, "no_question"),
        ({"question": "half \ud800"}, "no_question"),
        ({"options": ["red", "blue", "green"]}, "options"),
        ({"options": ["red", "blue", "green", "pink", "grey"]}, "options"),
        ({"options": ["red", "blue", "green", " "]}, "options"),
        ({"options": ["red", "blue", "green", None]}, "options"),
        ({"options": "red"}, "options"),
        ({"options": {"A": "red", "B": "blue", "C": "green", "E": "pink"}}, "options"),
        ({"options": ["red", "blue", "Blue.", "pink"]}, "same_options"),
        ({"options": ["red", "blue", "pink", "\uff50\uff49\uff4e\uff4b"]}, "same_options"),
        ({"options": ["red", "blue", "green", "All of the above"]}, "catch_all"),
        ({"options": ["red", "blue", "green", "none of the above."]}, "catch_all"),
        ({"options": ["red", "blue", "green", "Both A and B"]}, "catch_all"),
        ({"options": ["red", "blue", "green", "It cannot be determined"]}, "catch_all"),
        ({"answer": "yellow"}, "answer"),
        ({"answer": None}, "answer"),
        ({"answer": "E"}, "answer"),
        ({"answer": "A) blue"}, "answer"),
        ({"options": ["B", "A", "C", "D"], "answer": "A"}, "answer"),
    ],
)
def test_a_bad_question_says_why(changes, verdict):
    candidate = only({"questions": [with_(**changes)]})
    assert candidate.verdict == verdict
    assert verdict in MALFORMED


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"answer": "B"}, "blue"),
        ({"answer": "(b)"}, "blue"),
        ({"answer": "Answer: B."}, "blue"),
        ({"answer": "B) blue"}, "blue"),
        ({"answer": " BLUE. "}, "blue"),
        ({"options": ["A) red", "B) blue", "C) green", "D) pink"], "answer": "C"}, "green"),
        ({"options": {"A": "red", "B": "blue", "C": "green", "D": "pink"}, "answer": "D"}, "pink"),
        ({"options": ["A", "B", "C", "D"], "answer": "C"}, "C"),
        ({"options": ["A cat", "A dog", "An ape", "Nothing"], "answer": "A dog"}, "A dog"),
        ({"options": ["3", "-3", "30", "+3"], "answer": "-3"}, "-3"),
    ],
)
def test_answers_by_text_and_by_letter(changes, answer):
    candidate = only({"questions": [with_(**changes)]})
    assert candidate.verdict == ""
    assert candidate.question.answer == answer
    assert answer in candidate.question.options


def test_plain_text_and_markdown_are_read():
    text = """Here are two questions:

    #### 1. **What color is the cup?**
    - A) red
    - B) blue
    - C) green
    - **D)** pink

    **Answer:** B) blue
    ------
    Question 2: Where is it?
    A. left
    B. right
    C. middle
    D. nowhere
    Correct answer: A
    3) Is this one finished?
    A) yes
    """
    first, second, third = extract({"text": text})
    assert (first.question.text, first.question.answer) == ("What color is the cup?", "blue")
    assert first.question.options == ("red", "blue", "green", "pink")
    assert (second.question.text, second.question.answer) == ("Where is it?", "left")
    assert (third.question.text, third.verdict) == ("Is this one finished?", "options")


def test_nothing_in_a_record_is_no_candidate():
    assert extract({}) == []
    assert extract({"questions": []}) == []
    assert only({"questions": "What?"}).verdict == "no_question"
    assert only({"questions": GOOD}).verdict == ""


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)
likely = st.fixed_dictionaries(
    {},
    optional={
        "question": st.sampled_from(["What?", ""]) | anything,
        "text": anything,
        "options": st.lists(st.sampled_from(["red", "Red.", "A", "B", "all of the above", "1", "2", ""]), max_size=6)
        | anything,
        "answer": st.sampled_from(["red", "A", "B", "D", "1"]) | anything,
        "kind": anything,
    },
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {}, optional={"questions": st.lists(likely | anything, max_size=4) | anything, "text": anything}
    )
)
def test_no_record_breaks_extraction(record):
    for candidate in extract(record):
        question = candidate.question
        question.text.encode("utf-8")
        if candidate.verdict:
            assert candidate.verdict in MALFORMED
            continue
        assert question.text.strip()
        assert len({fold(option) for option in question.options}) == len(question.options) == 4
        assert question.options.count(question.answer) == 1
        assert validate(question).question == question, "a good question stays as it is"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["What?", "A) x", "B. y", "C) z", "D: w", "Answer: A", "1. Who?", "---", "**", "", "Answer:"])
    )
)
def test_no_text_breaks_extraction(parts):
    for candidate in extract({"text": "\n".join(parts)}):
        assert candidate.verdict in MALFORMED or candidate.question.answer in candidate.question.options
