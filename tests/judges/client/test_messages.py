"""Reading what a model said: JSON by a schema, reasoning, probabilities of choices."""

from __future__ import annotations

import math

import pytest

from capwright.data import model_text
from capwright.data.model_text import without_reasoning
from capwright.judges.client import ChatAnswer, ChatRequest, Message
from capwright.judges.client.http_client import retry_after
from capwright.judges.client.messages import choice_probabilities
from capwright.judges.client.schema import check_schema, problem, read_json

MARKS = {
    "type": "object",
    "properties": {
        "marks": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 10}, "minItems": 1},
        "why": {"anyOf": [{"type": "string", "maxLength": 20}, {"type": "null"}]},
    },
    "required": ["marks"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "text",
    [
        '{"marks": [1, 2]}',
        ' \n{"marks": [1, 2]}\n',
        '```json\n{"marks": [1, 2]}\n```',
        'Here you are:\n```\n{"marks": [1, 2]}\n```\nThat is {all}.',
        'The marks are {"marks": [1, 2]} as asked.',
        '{"marks": [1, 2,],}',
        "{'marks': [1, 2]}",
        '{"marks": [9]} No, wait: {"marks": [1, 2]}',
        '\ufeff{"marks": [1, 2]}',
    ],
)
def test_common_breakage_is_repaired(text):
    assert read_json(text, MARKS) == ({"marks": [1, 2]}, "")


def test_strings_are_not_touched_by_repairs():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert read_json('{"a": "x,] ,} {\\"b\\": 1,}",}', schema)[0] == {"a": 'x,] ,} {"b": 1,}'}
    assert read_json("{'a': None, 'b': True}", {"type": "object"})[0] == {"a": None, "b": True}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "no JSON"),
        ("I cannot.", "no JSON"),
        ('{"marks": [1, 2', "no JSON"),
        ('{"marks": []}', "has 0 items"),
        ('{"marks": [11]}', "11 is not from 0 to 10"),
        ('{"marks": [true]}', "not of type integer"),
        ('{"marks": ["1"]}', "not of type integer"),
        ('{"marks": [NaN]}', "no JSON"),
        ('{"marks": [1], "more": 1}', "'more' was not asked for"),
        ('{"why": "x"}', "'marks' is missing"),
        ('{"marks": [1], "why": "' + "x" * 21 + '"}', "fits none of 2 kinds"),
        ("[1]", "not of type object"),
        ("[" * 5000, "no JSON"),
    ],
)
def test_nothing_is_made_up(text, wrong):
    value, said = read_json(text, MARKS)
    assert value is None
    assert wrong in said


def test_schemas_with_rules_that_nobody_checks_are_refused():
    check_schema(MARKS)
    for schema in ({"pattern": "x"}, {"items": {"format": "date"}}, {"type": "text"}, {"anyOf": [{"oneOf": []}]}):
        with pytest.raises(ValueError, match=r"not understood|none of"):
            check_schema(schema)
    assert problem(1.0, {"type": "integer"}) == ""
    assert problem(1, {"enum": [True]})
    assert problem("b", {"const": "a"})


def test_reasoning_is_cut_away():
    assert without_reasoning("<think>A or B?</think>\nB") == "B"
    assert without_reasoning("A or B?</think> B") == "B"
    assert without_reasoning("<think>A or B? I am not") == ""
    assert without_reasoning(" B ") == "B"
    assert without_reasoning("<think>a</think> b </think> c") == "c"
    request = ChatRequest((Message("user", "?"),), schema={"type": "object"})
    assert ChatAnswer(text='<think>{"a": 1}</think>{"b": 2}').read(request).data == {"b": 2}
    assert ChatAnswer(text="<think>hm", finish="length").read(request).status == "truncated"
    assert ChatAnswer(text="<think>hm").read(request).status == "unparseable"


def token(word, **top):
    return (word, tuple((name.replace("_", " "), math.log(p)) for name, p in top.items()))


def test_choices_by_their_first_token():
    assert choice_probabilities([token("A", A=0.6, _A=0.1, B=0.2, x=0.1)], "AB") == pytest.approx((7 / 9, 2 / 9))
    marks = [token("**"), token("("), token("B", A=0.5, B=0.5), token(")")]
    assert choice_probabilities(marks, ("A", "B")) == (0.5, 0.5)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [token("A", A=0.9), token(" cat", _cat=0.9)],
        [token("A", A=0.9), token("ll", ll=0.9)],
        [token("The", The=0.9, A=0.1), token(" A", _A=1.0)],
        [token("A")],
    ],
)
def test_a_sentence_is_no_choice(tokens):
    assert choice_probabilities(tokens, ("A", "B")) is None


def test_how_long_to_wait():
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"retry-after": "Wed, 21 Oct 2215 07:28:00 GMT"}) > 1e9
    assert [retry_after({"retry-after": odd}) for odd in ("soon", "inf", "nan", "-3")] == [0, 0, 0, 0]
    assert retry_after({}) == 0


@pytest.mark.parametrize(
    "text",
    [
        "<think>hm</think>B", "hm</think> B", "B<think>hm", "<think>a</think><think>b</think>\nB", "B<|im_end|>",
        "[THINK]hm[/THINK]B</s>", "<thinking>hm</thinking>\n\nB<|eot_id|><|end_of_text|>", "◁think▷hm◁/think▷B",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>",
        "<think>a <thinking> b</thinking></think>B",
    ],
)  # fmt: skip
def test_thoughts_and_the_ends_of_turns_are_cut_away(text):
    assert without_reasoning(text) == "B"


def test_thoughts_without_an_answer_are_none():
    for text in ("<think>on and on", "[THINK]", "<|channel|>analysis<|message|>hm", "<|im_end|>", "</s></s>"):
        assert without_reasoning(text) == ""
    assert without_reasoning("a < b and b > c; <thinker>") == "a < b and b > c; <thinker>"


class Counted(str):
    """A text that counts the characters that searches in it go over; parts of it count into the same sum."""

    work: list[int]

    def find(self, part, start=0, *end):
        found = super().find(part, start, *end)
        self.work[0] += (len(self) if found < 0 else found) - start
        return found


@pytest.mark.parametrize(
    "hostile",
    [
        lambda n: "<think>" * n, lambda n: "</think>" * n, lambda n: "<think></think>" * n,
        lambda n: "<think>" + "x" * n,
        lambda n: "<think>a</think>" * n + "<think>" * n, lambda n: "</s>" * n, lambda n: "<|channel|>" * n,
    ],
)  # fmt: skip
def test_reading_costs_what_the_text_is_long(hostile):
    """Doubling the text doubles the work."""
    work = []
    for n in (1000, 2000):
        Counted.work = [0]
        text = Counted(hostile(n))
        model_text._outside(text, "<think>", "</think>")
        work.append(Counted.work[0])
        without_reasoning(str(text))
    assert work[1] <= 2.2 * work[0] + 100
