"""Models whose files do not agree, or miss one: what ends a caption, and how a prompt is given."""

from __future__ import annotations

import json

import pytest

from capwright.models import load_policy
from tiny_models import write_llava

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{{ '<image>' if c.type == 'image' else c.text }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def changed(folder, name, **values):
    path = folder / name
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | values))


@pytest.fixture
def model(tmp_path):
    return write_llava(tmp_path / "llava")


def test_both_end_tokens_end_a_caption_where_files_differ(model, caplog):
    assert load_policy(model, device="cpu").eos_ids.tolist() == [2]
    assert "both do" not in caplog.text
    changed(model, "generation_config.json", eos_token_id=7)
    policy = load_policy(model, device="cpu")
    assert sorted(policy.eos_ids.tolist()) == [2, 7]
    assert "generation_config.json ends captions with" in caplog.text
    assert not {2, 7} & set(policy._banned_token_ids().tolist())


def test_a_given_caption_ends_with_the_token_that_ends_a_turn(model):
    policy = load_policy(model, device="cpu")
    tokenizer = policy.tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    policy.prompt_processor.processor.chat_template = tokenizer.chat_template = CHATML
    policy.inner.generation_config.eos_token_id = [2, end]
    assert policy.prompt_processor.turn_end([2, end]) == end
    assert policy._end_tokens() == [end, 2]
    policy.prompt_processor.processor.chat_template = tokenizer.chat_template = "{{ messages[0].content }}"
    assert policy.prompt_processor.turn_end([2, end]) is None
    assert policy._end_tokens() == [2, end]


def test_a_missing_chat_template_is_said_once_and_by_its_name(model, caplog):
    load_policy(model, device="cpu")
    assert "chat template" not in caplog.text
    for path in model.iterdir():
        if path.suffix == ".json" and "chat_template" in path.read_text():
            known = json.loads(path.read_text())
            known.pop("chat_template", None)
            path.write_text(json.dumps(known))
    (model / "chat_template.jinja").unlink(missing_ok=True)
    policy = load_policy(model, device="cpu")
    assert "has no chat template (chat_template.jinja, or in tokenizer_config.json)" in caplog.text
    assert policy.prompt_processor.text("Say it.") == "<image>Say it.\n"
