from __future__ import annotations

import pytest

from capwright.data.model_text import without_reasoning
from capwright.judges.multiple_choice import chosen, letters_of

OPTIONS = ("red", "blue", "green", "pink")
ABSTAIN = "This can not be told from the caption."


def pick(reply: str, options: tuple[str, ...] = OPTIONS) -> int | None:
    return chosen(without_reasoning(reply), options, ABSTAIN)


def test_letters_leave_f_for_abstaining():
    assert letters_of(2) == ("A", "B", "F")
    assert letters_of(4) == ("A", "B", "C", "D", "F")
    assert letters_of(5) == ("A", "B", "C", "D", "E", "F")
    assert letters_of(6) == ("A", "B", "C", "D", "E", "F", "G")
    assert len(set(letters_of(25))) == 26


@pytest.mark.parametrize(
    "reply",
    ["B", "b", " B. ", "(B)", "**B**", "B)", "[B]", '"B"', "`B`", "B\n", "Option B", "B) blue", "b) blue", "B. Blue.",
     "B: blue", "blue", "Blue.", "The answer is B", "The answer is B.", "Answer: B", "answer: **B**",
     "Answer: (B) blue",
     "The correct option is B) blue.", "B) blue, because the caption says so.", "I think it is (B)",
     "A) is wrong.\nThe answer is B", "<think>A? No, A is red.</think>\nB", "A</think>B", "Answer: B\nAnswer: B",
     "The answer is B, not A.", "The answer is B. A is wrong.", "B) blue. A cat is red.",
     "The answer is B. I think so.", "The answer is B) blue. A) red is not there.",
     "Answer: B. The U.S. flag is blue.",
     "The answer is B. No wait, it is B.",
     r"\boxed{B}", r"It says so. $\boxed{\text{B}}$", "$B$", "<answer>B</answer>",
     "The caption is about a ball. <answer> B) blue </answer>", '{"answer": "B"}', '```json\n{"answer": "B"}\n```',
     '{"choice": "blue"}', "Ｂ", "（Ｂ）", "答案：B", "答案是B", "选项B", "B<|im_end|>", "B</s>",
     "Option B is correct.",
     "Option B is the right answer.", "Choice (B) is correct", "[THINK]A?[/THINK]B", "<thinking>A</thinking>\nB",
     "◁think▷A◁/think▷B", "<|channel|>analysis<|message|>A<|end|><|channel|>final<|message|>B<|return|>"],
)  # fmt: skip
def test_replies_that_say_b(reply):
    assert pick(reply) == 1


@pytest.mark.parametrize("reply", ["F", "f.", "F)", ABSTAIN, f"F) {ABSTAIN}", "The answer is F"])
def test_replies_that_abstain(reply):
    assert pick(reply) == len(OPTIONS)


@pytest.mark.parametrize(
    "reply",
    ["", "   ", "E", "G", "Z", "?", "A cat", "A cat is red and blue.", "A or B", "A) or\nB)", "(A) or (B)", "A) or B)",
     "AB", "Because",
     "Caption", "I cannot tell", "The answer is a color", "The answer is A cat", "E) violet", "red or blue", "reddish",
     "<think>B", "<think>The answer is B, I", "F or B?", "Not A)", "It is not (A).",
     "None of (A)", "(A) is wrong, so", "A) is not mentioned in the caption, so F", "Option A) says red, but",
     "The options are A) red and", "Let me compare (A) with",
     "Answer: A\nAnswer: B",
     "The answer is A, no wait, B", "The answer is A. No, B.", "The answer is A or B", "The answer is A and B.",
     "Answer: A. Wait, B is right", "The answer is B, no wait, A is right", "A) red, no wait, B", "A) red, or B",
     "The answer is A. Actually, B) blue", "A) red. Sorry, I meant (B) blue.", "The answer is A (or C).",
     "11", "B2", "The answer is not B", r"\boxed{A} or \boxed{B}", "<answer>A</answer><answer>B</answer>",
     '{"answer": "E"}', '{"answer": "A", "why": "B"}', "Option B is not correct.",
     "Option A is correct. Option B is correct.",
     "答案：AB", r"\boxed{}", "B" * 30_000, "Option A is correct, wait, B"],
)  # fmt: skip
def test_replies_that_can_not_be_told(reply):
    assert pick(reply) is None


def test_words_count_before_letters_and_whole_words_only():
    assert pick("A cat", ("dog", "a cat")) == 1
    assert pick("A dog", ("dog", "cat")) == 0
    assert pick("north", ("no", "yes")) is None
    assert pick("No, there is none.", ("yes", "no")) == 1
    assert pick("Yes.", ("yes", "no")) == 0
    assert pick("Nothing, really", ("yes", "no")) is None
    assert pick("snow", ("no", "yes")) is None
    assert pick("I", tuple("abcdefghi")) == 8
    assert pick("I think so", tuple("abcdefghi")) is None


def test_letters_in_the_words_of_an_option_are_no_second_answer():
    assert pick("B) Vitamin C, as it says", ("vitamin A", "vitamin C")) == 1
    assert pick("The answer is B) vitamin C.", ("vitamin A", "vitamin C")) == 1
    assert pick("The answer is A, no wait, B", ("red", "blue")) is None


def test_two_options_of_the_same_words_can_not_be_told_apart_by_them():
    assert pick("red", ("red", "red")) is None
    assert pick("B", ("red", "red")) == 1
