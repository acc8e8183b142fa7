"""Captioners of any kind fill a caption file; one bad image costs no other its caption."""

from __future__ import annotations

from pathlib import Path

import pytest

import capwright
from capwright import Caption, ImageError, ModelError, Sample, SamplingParams, read_captions
from capwright.captioning import PolicyCaptioner, load_captioner
from capwright.captioning.caption_files import caption_file, caption_rows, same_origin
from capwright.captioning.captioners import is_plugin
from capwright.plugins import register
from capwright.types import DataError, OutageError


class Echo:
    """Says what a sample is called; no model, no images."""

    def __init__(self, bad: dict[str, Exception] | None = None):
        self.description = {"model": "echo", "voice": "loud"}
        self.bad, self.asked = bad or {}, []

    def caption(self, requests, params, n=1):
        self.asked.append([request.sample.id for request in requests])
        for request in requests:
            if request.sample.id in self.bad:
                raise self.bad[request.sample.id]
        return [[Caption(request.sample.id.upper()[: params.max_tokens])] * n for request in requests]


SAMPLES = [Sample(name, Path(name)) for name in ("a", "b", "c", "d", "e")]
GREEDY = SamplingParams(temperature=0.0, max_tokens=4)


def test_any_captioner_fills_a_file_and_goes_on_with_it(tmp_path):
    out, echo = tmp_path / "said.jsonl", Echo()
    tally = caption_file(echo, SAMPLES[:3], out, GREEDY, batch_size=2, extra=echo.description)
    assert (tally.written, tally.kept, tally.failures) == (3, 0, [])
    assert echo.asked == [["a", "b"], ["c"]]
    assert read_captions(out)["b"] == {
        "id": "b", "caption": "B", "status": "ok", "finish": "stop", "model": "echo", "voice": "loud",
    }  # fmt: skip
    more = caption_file(echo, SAMPLES, out, GREEDY, batch_size=8, extra=echo.description)
    assert (more.written, more.kept) == (2, 3)
    assert echo.asked[2:] == [["d", "e"]]
    same_origin(out, echo.description)
    with pytest.raises(DataError, match="captions made with voice 'loud', not 'soft'; choose another --out"):
        same_origin(out, {"model": "echo", "voice": "soft"})


def test_what_fails_is_asked_by_itself_and_stays_visible(tmp_path):
    echo = Echo({"b": ImageError("b: is torn"), "d": ModelError("sample 'd': too many images")})
    tally = caption_file(echo, SAMPLES, tmp_path / "said.jsonl", GREEDY, batch_size=3)
    assert echo.asked == [["a", "b", "c"], ["a"], ["b"], ["c"], ["d", "e"], ["d"], ["e"]]
    assert tally.failures == [("b", "b: is torn"), ("d", "sample 'd': too many images")]
    rows = read_captions(tmp_path / "said.jsonl")
    assert [row["status"] for row in rows.values()] == ["ok", "missing_image", "ok", "missing_image", "ok"]
    assert rows["b"]["reason"] == "b: is torn"


def test_an_outage_ends_the_job_and_is_no_bad_image(tmp_path):
    echo = Echo({"c": OutageError("http://localhost: does not answer")})
    with pytest.raises(OutageError):
        caption_file(echo, SAMPLES, tmp_path / "said.jsonl", GREEDY, batch_size=2)
    assert list(read_captions(tmp_path / "said.jsonl")) == ["a", "b"]


def test_the_policy_captioner_says_what_the_policy_says(photo_dataset):
    captioner = load_captioner("embedded", prompt="Name the toys.", max_pixels=9000, device="cpu")
    assert isinstance(captioner, PolicyCaptioner)
    assert captioner.description == {"model": "embedded", "prompt": "Name the toys.", "max_pixels": 9000}
    requests = [capwright.Request(sample) for sample in capwright.open_dataset(photo_dataset, "test")[:2]]
    sampling = SamplingParams(temperature=1.0, max_tokens=6, seed=1)
    policy = captioner.policy
    assert captioner.caption(requests, sampling, 3) == policy.sample(policy.encode(requests), 3, sampling).captions
    named = [capwright.Request(request.sample, "Name the toys.") for request in requests]
    assert captioner.caption(named, sampling, 3) == captioner.caption(requests, sampling, 3)
    assert capwright.load_captioner is load_captioner


def test_captioners_of_plugins(tmp_path, monkeypatch):
    register("captioner", "echo")(lambda **options: Echo())
    assert load_captioner("echo", device="cpu").description["model"] == "echo"
    (tmp_path / "own.py").write_text(
        "class Mute:\n    description = {'model': 'mute'}\n    def __init__(self, device=None): pass\n"
        "    def caption(self, requests, params, n=1): return []\nclass Nothing: ...\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_captioner("own.py:Mute", device="cpu").description == {"model": "mute"}
    for name, options, says in (
        ("own.py:Mute", {"prompt": "Say it."}, r"captioner own.py:Mute: cannot be made with .*'prompt'"),
        ("own.py:Nothing", {}, "gives a Nothing and no captioner; it needs `caption` and `description`"),
        ("own.py:Missing", {}, "the captioner own.py:Missing cannot be had"),
    ):
        with pytest.raises(ModelError, match=says):
            load_captioner(name, **options)
    (tmp_path / "echo").mkdir()
    assert not is_plugin("echo"), "a folder of this name is meant"
    assert not is_plugin("embedded")
    register("captioner", "embedded")(Echo)
    with pytest.raises(ModelError, match=r"embedded: a captioner with this name exists \(built in\)"):
        load_captioner("embedded")


@pytest.mark.parametrize("gives", [None, [], ["a dog"], [["a dog"]], [[]], [[Caption("a"), Caption("b")]]])
def test_what_a_captioner_gives_must_be_captions(gives, tmp_path):
    echo = Echo()
    echo.caption = lambda requests, params, n=1: gives
    with pytest.raises(ModelError, match="must give a list for each request, of as many `Caption`s as were asked for"):
        list(caption_rows(echo, [Sample("a", tmp_path / "a.png")], SamplingParams()))
