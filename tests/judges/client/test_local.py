"""Local models behind `Chat`: tiny ones with random weights."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from transformers import LlamaConfig, LlamaForCausalLM

from capwright.judges.client import Chat, ChatError, ChatRequest, Message
from tiny_models import text_sizes, tiny_tokenizer, write_llava


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    tokenizer = tiny_tokenizer((), "")
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}"
        "{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}judge:{% endif %}"
    )
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**text_sizes(len(tokenizer)))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def seeing_folder(tmp_path_factory):
    return write_llava(tmp_path_factory.mktemp("seeing"))


def ask(text, **settings):
    return ChatRequest((Message("user", text),), max_tokens=settings.pop("max_tokens", 5), **settings)


def test_answers_repeat_and_do_not_depend_on_company(text_folder, tmp_path):
    requests = [ask(f"say {n}", temperature=1.0, choices=("x",), max_tokens=6) for n in range(3)]
    together = Chat(f"local:{text_folder}", cache=None).ask(requests)
    alone = Chat(f"local:{text_folder}", cache=None).ask(requests[2:])
    assert together[2].text == alone[0].text
    other = Chat(f"local:{text_folder}", cache=None).ask([ask("say 2", temperature=1.0, choices=("x",), seed=7)])
    assert other[0].text != alone[0].text
    kept = Chat(f"local:{text_folder}", cache=tmp_path)
    assert kept.ask(requests)[0].tokens_out == 6
    again = Chat(f"local:{text_folder}", cache=tmp_path).ask(requests)
    assert [(a.text, a.cached) for a in again] == [(a.text, True) for a in together]


def test_cut_off_system_messages_and_going_on(text_folder):
    chat = Chat(f"local:{text_folder}", cache=None)
    assert chat.ask([ask("hello", max_tokens=2)])[0].status in ("truncated", "ok")
    both = ChatRequest((Message("system", "Be brief."), Message("user", "hello")), max_tokens=2, choices=("x",))
    joined = ask("Be brief.\n\nhello", max_tokens=2, choices=("x",))
    said = chat.ask([both, joined])
    assert said[0].status in ("ok", "unparseable")
    assert said[0].tokens_in == said[1].tokens_in
    goes_on = ChatRequest((Message("user", "hello"), Message("assistant", "The answer is")), max_tokens=2)
    assert chat._backend._prompt(list(goes_on.messages)).endswith("assistant: The answer is")


def test_a_schema_goes_along_where_user_and_judge_must_take_turns(text_folder):
    """As with Gemma, Mistral and Llama 2: no system message, and never two of the user in a row."""
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    chat = Chat(f"local:{text_folder}", cache=None)
    both = (Message("system", "Be brief."), Message("user", "hello"))
    (answer,) = chat.ask([ChatRequest(both, max_tokens=2, schema=schema)])
    assert answer.status in ("truncated", "unparseable"), answer.reason
    assert answer.tokens_out
    twice = (Message("user", "hello"), Message("user", "hello"))
    (answer,) = chat.ask([ChatRequest(twice, max_tokens=2)])
    assert (answer.status, "take turns" in answer.reason) == ("judge_error", True)


def test_probabilities_are_the_softmax_of_the_first_token(text_folder):
    chat = Chat(f"local:{text_folder}", cache=None)
    request = ask("?", max_tokens=1, choices=tuple("ABC"))
    chat._backend._load()
    inputs = chat._backend._inputs(request)
    with torch.no_grad():
        probabilities = chat._backend._model(**inputs).logits[0, -1].softmax(-1)
    said, _ = chat._backend._generate(inputs, request, None)
    word, candidates = said.tokens[0]
    assert len(candidates) == 20
    assert sum(2.718281828**p for _, p in candidates) == pytest.approx(
        float(probabilities.topk(20).values.sum()), rel=1e-4
    )
    assert word == candidates[0][0]


def test_images_are_seen(seeing_folder, tmp_path):
    for color in ("red", "blue"):
        Image.new("RGB", (40, 30), color).save(tmp_path / f"{color}.png")
    chat = Chat(f"local:{seeing_folder}", cache=None)
    requests = [
        ChatRequest((Message("user", "describe this", (tmp_path / f"{name}.png",)),), max_tokens=3, choices=("x",))
        for name in ("red", "blue", "away")
    ]
    said = chat.ask([*requests, ask("describe this", choices=("x",))])
    assert [answer.status for answer in said[2:3]] == ["missing_image"]
    assert all(answer.tokens_in > 16 for answer in said[:2])  # 16 image tokens
    assert 0 < said[3].tokens_in < 16 + 40
    images = [chat._backend._inputs(request)["pixel_values"] for request in requests[:2]]
    assert not torch.equal(*images)


def test_a_text_model_can_not_see(text_folder, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    request = ChatRequest((Message("user", "seen?", (tmp_path / "x.png",)),), max_tokens=3)
    answers = Chat(f"local:{text_folder}", cache=None).ask([request, ask("hi", choices=("x",))])
    assert answers[0].status == "judge_error"
    assert "text only" in answers[0].reason
    assert answers[1].status != "judge_error"


def test_steps_end_and_models_that_are_not_there(text_folder, tmp_path):
    chat = Chat(f"local:{text_folder}", cache=None, step_seconds=0.3)
    chat.ask([ask("load")])
    statuses = {answer.status for answer in chat.ask([ask(f"{n}", max_tokens=1500) for n in range(4)])}
    assert "timeout" in statuses
    with pytest.raises(ChatError, match="cannot be loaded"):
        Chat(f"local:{tmp_path}/away", cache=None).ask([ask("?")])
    with pytest.raises(ChatError, match="for servers"):
        Chat(f"local:{text_folder}", extra={"top_p": 0.5})
    with pytest.raises(ChatError, match="dtype"):
        Chat(f"local:{text_folder}", dtype="int3")
