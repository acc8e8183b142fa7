"""Code in a model's folder is not executed, unless it is allowed in so many words."""

from __future__ import annotations

import json

import pytest

from capwright.judges.client import Chat, ChatRequest, Message
from capwright.models import load_policy
from capwright.models.encoders import ClipEncoder
from capwright.models.processor import load_processor
from capwright.models.text_encoder import load_encoder
from capwright.types import CapwrightError, ModelError, ScorerError, Status
from tiny_models import write_llava

CODE = "from pathlib import Path\nPath({marker!r}).touch()\nfrom transformers import PretrainedConfig\n"
CODE += "class Own(PretrainedConfig):\n    model_type = 'strange'\n"


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """What the code of the folder leaves when it runs. Nobody is asked on the terminal, either."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return tmp_path / "executed"


@pytest.fixture
def strange(tmp_path, marker):
    """A model of a kind that only its own code knows."""
    folder = tmp_path / "strange"
    folder.mkdir()
    config = {"model_type": "strange", "auto_map": {"AutoConfig": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["own.Own", None]}}))
    (folder / "own.py").write_text(CODE.format(marker=str(marker)))
    return folder


def ask_locally(folder, **options):
    with Chat(f"local:{folder}", cache=None, device="cpu", **options) as chat:
        (answer,) = chat.ask([ChatRequest((Message("user", "Say it."),))])
        assert answer.status is not Status.OK


@pytest.mark.parametrize(
    ("load", "error", "way"),
    [
        (load_policy, ModelError, "if you have read it and trust it, set trust_remote_code"),
        (ask_locally, CapwrightError, "set the option trust_remote_code of the judge"),
        (lambda folder: load_encoder(str(folder), None, "similarity"), ScorerError, "choose a model that needs none"),
        (lambda folder: ClipEncoder(str(folder)), ScorerError, "choose a model that needs none"),
    ],
    ids=["captioner", "judge", "text encoder", "image encoder"],
)
def test_it_is_refused(load, error, way, strange, marker):
    with pytest.raises(error, match="it brings Python code of its own, which") as found:
        load(strange)
    assert way in str(found.value)
    assert not marker.exists()


def test_it_runs_where_it_is_allowed(strange, marker):
    with pytest.raises(ModelError, match="cannot be loaded"):  # it is no captioner, but its code was asked
        load_policy(strange, trust_remote_code=True)
    assert marker.exists()


def test_code_beside_a_known_model_is_not_executed(tmp_path, marker):
    folder = write_llava(tmp_path / "llava")
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        if (folder / name).exists():
            config = json.loads((folder / name).read_text())
            kinds = ("AutoConfig", "AutoProcessor", "AutoImageProcessor", "AutoModelForImageTextToText")
            config["auto_map"] = dict.fromkeys(kinds, "own.Own")
            (folder / name).write_text(json.dumps(config))
    (folder / "own.py").write_text(CODE.format(marker=str(marker)))
    load_policy(folder, device="cpu")
    load_processor(folder, "llava")
    assert not marker.exists()
