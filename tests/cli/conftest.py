from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capwright.cli import app
from capwright.data import read_coco, write_dataset
from chat_server import ChatServer
from lexical_server import lexical_reply
from places import PHOTOS
from tiny_models import write_llava, write_qwen25vl

#: Turns the recipes that come along into runs of a second.
SHORT = (
    "data.eval_split=val",
    "stages.warmup.steps=2",
    "stages.warmup.images_per_step=4",
    "stages.warmup.micro_batch=null",
    "stages.warmup.target=references",
    "stages.rsrs.steps=2",
    "stages.rsrs.images_per_step=4",
    "stages.rsrs.captions_per_image=2",
    "stages.rsrs.micro_batch=null",
    "stages.rsrs.imitation.batch=4",
    "stages.rsrs.sampling.max_tokens=8",
    "stages.rsrs.eval_every=2",
    "evaluation.sampling.max_tokens=8",
    "evaluation.bootstrap=50",
)


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli() -> Callable[..., Said]:
    """cli("data", "check", path) -> Said. Fails on anything a user would see as a traceback."""

    def call(*arguments: object) -> Said:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.stdout + result.stderr
        return Said(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="session")
def many_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos with as many as possible to learn from: 30 train, 4 val."""
    photos = PHOTOS
    samples, vocabulary = read_coco(photos / "annotations.json", photos)
    splits = ["train"] * 30 + ["val"] * 4
    samples = [replace(sample, split=name) for sample, name in zip(samples, splits, strict=True)]
    return write_dataset(samples, tmp_path_factory.mktemp("data") / "photos", vocabulary)


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen25vl(tmp_path_factory.mktemp("models") / "qwen")


@pytest.fixture(scope="session")
def short() -> tuple[str, ...]:
    return SHORT


@pytest.fixture
def server():
    """The lexical reader behind an OpenAI-compatible endpoint."""
    with ChatServer(lambda body: lexical_reply(body["messages"])) as server:
        yield server


@pytest.fixture(scope="module")
def said(world, tmp_path_factory):
    """Casual captions of the dataset `world` of a module, as a file."""
    path = tmp_path_factory.mktemp("said") / "said.jsonl"
    rows = [{"id": sample.id, "caption": sample.meta["casual"][0]} for sample in world]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
