"""How the letter of an answer is had: from the text, from what was likely, or from a schema."""

from __future__ import annotations

import pytest

from capwright.judges.client import Chat
from capwright.judges.llm_judge import LLMJudge
from capwright.types import ModelError, Question, Status
from chat_server import ChatServer

ASKED = [("A red ball.", Question("What color is the ball?", ("red", "blue")))]


def answered(answering, **options):
    """(answer, the body that was asked last)."""
    with ChatServer(answering) as server, Chat(server.address, "toy", cache=None, retries=0) as chat:
        (answer,) = LLMJudge(chat, "toy", **options).answer(ASKED)
        return answer, server.bodies[-1]


def rambling(likely):
    """A model whose first word is no letter, though letters were `likely` in its place."""
    first = {"The": -0.3, **likely}
    return lambda body: {"text": "The ball is of a color", "logprobs": [("The", first), (" ball", {" ball": -0.1})]}


def test_the_likeliest_letter_is_taken_only_when_asked_for():
    model = rambling({"B": -1.5, " A": -3.0})
    assert answered(model)[0].status == Status.UNPARSEABLE
    answer, _ = answered(model, letters="likeliest")
    assert (answer.option, answer.status) == (1, Status.OK)
    assert answer.probabilities[1] == pytest.approx(0.8176, abs=1e-3)


def test_letters_that_were_hardly_likely_are_no_answer():
    answer, _ = answered(rambling({"B": -4.0, "A": -5.0}), letters="likeliest")
    assert answer.option is None
    assert answered(lambda body: "The ball", letters="likeliest")[0].option is None  # a server that tells nothing


def test_what_the_text_chooses_comes_first():
    model = lambda body: {"text": "The answer is A", "logprobs": [("The", {"The": -0.9, "B": -1.0})]}  # noqa: E731
    answer, _ = answered(model, letters="likeliest")
    assert answer.option == 0
    told = lambda body: {"text": "F", "logprobs": [("F", {"F": -0.1, "A": -2.0})]}  # noqa: E731
    answer, _ = answered(told, letters="likeliest")
    assert (answer.option, answer.abstained) == (None, True)
    guessed, _ = answered(rambling({"F": -1.2, "A": -3.0}), letters="likeliest")
    assert guessed.abstained


def test_a_schema_of_the_letters_is_sent_and_its_answer_read():
    model = lambda body: {"text": '"B"', "logprobs": [('"', {'"': 0.0}), ("B", {"B": -0.2, "A": -2.0})]}  # noqa: E731
    answer, body = answered(model, letters="schema")
    assert body["response_format"]["json_schema"]["schema"] == {"type": "string", "enum": ["A", "B", "F"]}
    assert (answer.option, answer.status) == (1, Status.OK)
    assert answer.probabilities[1] > 0.8
    assert answered(lambda body: "A", letters="schema")[0].option == 0  # where the server said it in words only
    assert "response_format" not in answered(model)[1]


def test_limits_of_answers_are_options():
    assert answered(lambda body: "A", max_tokens=77)[1]["max_tokens"] == 77
    assert (
        answered(lambda body: "A", max_tokens={"answer_text": 9, "split": 5}, thinking_tokens=20)[1]["max_tokens"] == 29
    )
    for wrong, why in (({"spilt": 9}, "no prompt spilt"), (0, "a whole number, 1 or more"), (1.5, "a whole number")):
        with pytest.raises(ModelError, match=f"max_tokens: .*{why}"):
            LLMJudge(None, max_tokens=wrong)
    with pytest.raises(ModelError, match="letters: must be text, likeliest, schema, not 'words'"):
        LLMJudge(None, letters="words")


def test_what_can_change_a_number_is_in_the_signature():
    plain = LLMJudge(None, "toy").signature
    assert LLMJudge(None, "toy", letters="schema").signature == f"{plain};letters=schema"
    assert LLMJudge(None, "toy", max_tokens={"split": 9}).signature == f"{plain};max.split=9"
