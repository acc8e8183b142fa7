"""The recipes that ask a server run whole, for one step: tiny random models, a real HTTP server, real images."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

import pytest

import tiny_models
from capwright.data import open_dataset
from capwright.judges.prompt_files import load_prompts
from capwright.recipes import load_recipe
from capwright.runs import train
from capwright.scenes import build
from chat_server import ChatServer
from lexical_server import lexical_reply

SHORT = [
    "model.dtype=float32", "model.lora=null", "model.mixed_precision=no", "model.max_pixels=12544",
    "model.gradient_checkpointing=false", "data.eval_split=train", "data.eval_limit=2",
]  # fmt: skip
STAGE = [
    "steps=1", "images_per_step=2", "captions_per_image=3", "micro_batch=null", "rollout_batch=null",
    "warmup_steps=0", "eval_every=null", "sampling.max_tokens=8",
]  # fmt: skip
TINY = {"qwen": tiny_models.write_qwen25vl, "llava": tiny_models.write_llava}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(10, 0, tmp_path_factory.mktemp("world") / "world", size=56))


class Moody:
    """A judge that knows which image it is shown; its verdicts follow from the words, not from their sense."""

    def __init__(self, world) -> None:
        self._images = {sample.image.read_bytes() for sample in world}
        self._tasks = {prompt.system.split("\n")[0]: name for name, prompt in load_prompts().items()}
        self.asked: list[str] = []

    def __call__(self, body):
        system, user = (_parts(message["content"]) for message in body["messages"])
        text = "\n".join(part["text"] for part in user if part["type"] == "text")
        task = self._tasks[system[0]["text"].split("\n")[0]]
        self.asked.append(task)
        images = [part["image_url"]["url"] for part in user if part["type"] == "image_url"]
        assert len(images) == (task == "verify_image")
        assert all(base64.b64decode(url.partition(",")[2]) in self._images for url in images)
        return self.reply(task, text, body)

    def reply(self, task, text, body):
        mood = hashlib.blake2b(text.encode()).digest()
        if task == "answer_text":
            return "ABF"[mood[0] % 3]
        if task == "split":
            said = html.unescape(_slot(text, "caption"))
            words = dict.fromkeys(said.split()[:8])
            return json.dumps({"claims": [{"claim": f"It says {word}", "descriptive": True} for word in words]})
        if task == "grade":
            return json.dumps({"reason": "so", "marks": {"clarity": 1 + mood[0] % 5, "fluency": 3, "coherence": 3}})
        count = len(_slot(text, "claims").splitlines())
        verdicts = [("entailed", "neutral")[mood[i] % 2] for i in range(count)]
        return json.dumps(
            {"verdicts": [{"number": i, "verdict": v, "pointable": True} for i, v in enumerate(verdicts, 1)]}
        )


class Lexical(Moody):
    """A judge that looks words up: of what a captioner without words says nothing can be answered."""

    def reply(self, task, text, body):
        return lexical_reply(body["messages"])


def _slot(text, name):
    (told,) = re.findall(rf"<{name}>\n(.*?)\n</{name}>", text, re.DOTALL)
    return told


def _parts(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def run(name, family, judge, world, tmp_path, *changes):
    """Train the recipe against this judge; its result and the rows of its steps."""
    stage = name.partition("-")[0]
    reward = {"caprl": "caprl", "balcaprl": "precision"}[stage]
    with ChatServer(judge) as server:
        settings = [
            f"model.name={TINY[family](tmp_path / 'model')}", f"data.path={world.root}", *SHORT,
            *(f"stages.{stage}.{change}" for change in STAGE), *changes,
            f"rewards.{reward}.options.judge.name={server.address}",
            f"rewards.{reward}.options.judge.cache=null",
        ]  # fmt: skip
        recipe = load_recipe(name, settings)
        told = json.dumps([recipe.evaluation.options, *(reward.options for reward in recipe.rewards.values())])
        assert "localhost:8000" not in told  # one change reaches every place where the judge is named
        (result,) = train(recipe, out=tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    return result, [row for row in rows if "grad_norm" in row or "loss" in row]


@pytest.mark.parametrize("advantage", ["grpo", "rloo"])
def test_caprl(advantage, world, tmp_path):
    judge = Moody(world)
    result, rows = run(
        "caprl-qwen2.5-vl-3b", "qwen", judge, world, tmp_path, f"stages.caprl.advantage={advantage}",
        "rewards.short={weight: 0.2, overlong: {of: tokens, soft: 2, hard: 8}}",
    )  # fmt: skip
    assert result.updates == 1
    assert rows[-1]["grad_norm"] > 0
    assert set(judge.asked) == {"answer_text"}


@pytest.mark.parametrize(("model", "family"), [("qwen2.5-vl-3b", "qwen"), ("llava-1.5-7b", "llava")])
def test_balcaprl(model, family, world, tmp_path):
    judge = Moody(world)
    result, rows = run(f"balcaprl-{model}", family, judge, world, tmp_path)
    assert result.updates == 1
    assert rows[-1]["grad_norm"] > 0
    assert set(judge.asked) == {"split", "verify_image", "verify_text", "grade"}


def test_rsrs_composes_with_the_reward_of_questions(world, tmp_path):
    """Nobody can answer anything from captions of an untrained model: their images are imitated, in the same step."""
    changes = ["stages.caprl.kind=rsrs", "stages.caprl.imitation.batch=2", "rewards.caprl.floor=0.2"]
    result, rows = run("caprl-qwen2.5-vl-3b", "qwen", Lexical(world), world, tmp_path, *changes)
    assert result.updates == 1
    assert rows[-1]["groups"]["failed"] == 2
    assert rows[-1]["imitated"] == 2
