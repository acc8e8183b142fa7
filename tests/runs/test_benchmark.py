"""Benchmarks: one file says what is measured and how, and every number says under which."""

from __future__ import annotations

import re

import pytest
import yaml

from capwright.evaluation import MeasureConfig, evaluate, score_systems
from capwright.recipes import list_recipes, load_recipe
from capwright.recipes.benchmark import Benchmark, list_benchmarks, load_benchmark
from capwright.runs.benchmark import benchmark_config, departures, describe, open_benchmark
from capwright.types import DataError, RecipeError

SMALL = {
    "name": "mine",
    "version": 2,
    "source": "this test",
    "data": {"scenes": {"n": 60, "seed": 1, "size": 24}},
    "scorers": ["tts", "length"],
}


def written(folder, **changes):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in {**SMALL, **changes}.items() if v is not None}))
    return path


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_kindergarten_is_measured_as_the_recipes_measure_it():
    benchmark, recipe = load_benchmark("kindergarten"), load_recipe("rsrs-scenes")
    assert "kindergarten" in list_benchmarks()
    assert "kindergarten" not in list_recipes()
    assert benchmark.data.scenes == recipe.data.scenes
    assert benchmark.split == recipe.data.eval_split
    assert benchmark.decoding.to_types() == recipe.evaluation.sampling.to_types()
    assert list(benchmark.scorers) == recipe.evaluation.scorers
    assert (benchmark.prompt, benchmark.limit) == ("", None)


def test_what_changes_a_number_changes_the_digest_and_nothing_else_does(tmp_path):
    plain = load_benchmark(written(tmp_path))
    assert re.fullmatch("[0-9a-f]{12}", plain.digest)
    for same in (
        {"notes": "more"},
        {"source": "elsewhere"},
        {"name": "other"},
        {"scorers": {"tts": None, "length": {}}},
        {"decoding": {"temperature": 0.0, "guidance": 1.0}, "missing": "error"},
    ):
        assert load_benchmark(written(tmp_path, **same)).digest == plain.digest, same
    for other in (
        {"split": "val"},
        {"limit": 3},
        {"prompt": "Name it."},
        {"decoding": {"temperature": 0.0, "max_tokens": 9}},
        {"scorers": {"tts": {"penalty": 0.5}, "length": {}}},
        {"missing": "skip"},
        {"data": {"scenes": {"n": 60, "seed": 2, "size": 24}}},
    ):
        assert load_benchmark(written(tmp_path, **other)).digest != plain.digest, other
    elsewhere = [load_benchmark(written(tmp_path, data={"path": place})).digest for place in ("a", "b/c")]
    assert elsewhere[0] == elsewhere[1], "data have a fingerprint of their own"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scorer": ["tts"]}, "scorer: unknown key; did you mean 'scorers'?"),
        ({"decoding": {"max_tokens": 0}}, "decoding.max_tokens: .*greater than or equal to 1"),
        ({"decoding": {"tempreture": 0}}, "decoding.tempreture: unknown key; did you mean 'temperature'?"),
        ({"scorers": ["lenght"]}, "scorers: there is no scorer 'lenght'; did you mean 'length'?"),
        ({"scorers": {"tts": {"penalty": -1}}}, "scorers.tts.penalty: must be a number, 0 or more, not -1"),
        ({"data": {}}, "data: give either data.path .* or data.scenes"),
        ({"data": {"scenes": {"m": 3}}}, "data.scenes.m: unknown key"),
        ({"source": None}, "source: Field required"),
        ({"scorers": []}, "scorers: .*at least 1"),
        ({"missing": "drop"}, "missing: Input should be"),
    ],
)
def test_errors_name_file_and_key(tmp_path, changes, says):
    path = written(tmp_path, **changes)
    with pytest.raises(RecipeError, match=f"{re.escape(str(path))}: {says}"):
        load_benchmark(path)


def test_what_is_no_benchmark(tmp_path):
    with pytest.raises(RecipeError, match="no such file or name. Did you mean 'kindergarten'"):
        load_benchmark("kindergarden")
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(RecipeError, match=r"x\.yaml: not valid YAML"):
        load_benchmark(tmp_path / "x.yaml")


def test_scenes_are_drawn_once_and_a_path_is_that_of_the_file(cached, tmp_path, monkeypatch):
    benchmark = load_benchmark(written(tmp_path, limit=4))
    samples = open_benchmark(benchmark)
    assert len(samples) == 4
    assert set(samples.splits) == {"test"}
    assert samples.root.parent == cached / "cache" / "benchmarks"
    before = samples.root.stat().st_mtime_ns
    assert [s.id for s in open_benchmark(benchmark)] == [s.id for s in samples]
    assert samples.root.stat().st_mtime_ns == before
    samples.root.rename(tmp_path / "drawn")
    own = load_benchmark(written(tmp_path, data={"path": "drawn"}))
    assert open_benchmark(own).root == tmp_path / "drawn"
    assert len(open_benchmark(benchmark, tmp_path / "drawn")) == 4
    monkeypatch.setenv("CAPWRIGHT_CACHE", "off")
    with pytest.raises(DataError, match="CAPWRIGHT_CACHE is off; name its dataset"):
        open_benchmark(benchmark)


def test_it_measures_as_it_says(cached, tmp_path):
    benchmark = load_benchmark(written(tmp_path, scorers={"tts": {"penalty": 0.5}, "length": None}))
    samples = open_benchmark(benchmark)
    said = {s.id: {"caption": s.references[0]} for s in samples}
    config = benchmark_config(benchmark, MeasureConfig(replicates=0, options={"length": {}}))
    found = score_systems({"expert": said}, samples, config=config).evaluations[0]
    alone = evaluate(samples, said, ["tts", "length"], options={"tts": {"penalty": 0.5}}, replicates=0)
    assert found.to_json()["scores"] == alone.to_json()["scores"]
    told = describe(benchmark, samples, {"tts": {"penalty": 1.0}})
    assert (told["name"], told["version"], told["digest"]) == ("mine", "2", benchmark.digest)
    assert told["fingerprint"] == samples.fingerprint
    assert told["changed"] == ["tts.penalty"]
    with pytest.raises(DataError, match="have no caption"):
        score_systems({"one": dict(list(said.items())[:1])}, samples, config=config)


def test_captions_that_were_made_in_another_way_are_told():
    benchmark = Benchmark.model_validate({**SMALL, "prompt": "Name it."})
    rows = {"1": {"caption": "a toy", "prompt": "Name it.", "max_tokens": 48}, "2": {"caption": "a toy"}}
    assert departures(benchmark, rows) == []
    rows["2"] |= {"max_tokens": 64, "prompt": "What is it?"}
    prompt, tokens = departures(benchmark, rows)
    assert "1 captions were made with prompt 'What is it?', the benchmark mine says 'Name it.'" in prompt
    assert "max_tokens 64" in tokens
