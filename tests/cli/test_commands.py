"""What the small commands do when all is well."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from capwright import open_dataset, read_captions, write_dataset
from capwright.captioning.image_sources import find_images
from capwright.cli._options import name_systems
from capwright.cli.evaluate import choose_samples
from capwright.data.vocabulary import read_vocabulary, shared_names
from capwright.evaluation import evaluate, prepare_scorers
from capwright.evaluation.compare import compare_headlines, stages_in_order
from capwright.scorers import Corpus, Item, get_scorer
from capwright.types import NO_IMAGE, DataError, Sample
from places import PHOTOS


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def references(dataset, split, path):
    """A caption file that says what the experts say."""
    return write_rows(path, [{"id": s.id, "caption": s.references[0]} for s in open_dataset(dataset, split)])


# caption --------------------------------------------------------------------------------------------------------------


def test_caption_goes_on_where_it_was(cli, llava, photo_dataset, tmp_path):
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    common = ["--model", llava, "--max-tokens", 6, "--split", "val"]
    cli("caption", photo_dataset, *common, "--out", whole)
    cli("caption", photo_dataset, *common, "--out", parts, "--n", 3)
    with parts.open("ab") as file:
        file.write(b'{"id": "torn off')
    said = cli("caption", photo_dataset, *common, "--out", parts, "--batch-size", 2)
    assert "3 captions written, 3 were there already" in said.err
    assert parts.read_bytes() == whole.read_bytes()

    assert f"loading {llava}" in said.err


def test_caption_does_not_mix_settings(cli, llava, photo_dataset, tmp_path):
    out, asked = tmp_path / "said.jsonl", tmp_path / "asked.jsonl"
    common = ["caption", photo_dataset, "--n", 2, "--batch-size", 2]
    settings = {"--model": llava, "--max-tokens": 4, "--max-pixels": 5000}
    assert cli(*common, *flat(settings), "--out", out).code == 0
    assert cli(*common, *flat(settings | {"--prompt": "What is it?"}), "--out", asked).code == 0
    for file, prompt in ((out, "Describe this image."), (asked, "What is it?")):
        for row in read_captions(file).values():
            assert (row["model"], row["prompt"]) == (str(llava), prompt)
            assert (row["max_tokens"], row["max_pixels"]) == (4, 5000)

    for key, value, file in (
        ("model", "another", out),
        ("prompt", "What is it?", out),
        ("max_tokens", 5, out),
        ("max_pixels", 6000, out),
        ("prompt", "Describe this image.", asked),  # what the model asks by itself
    ):
        before = file.read_bytes()
        said = cli(*common, *flat(settings | {f"--{key.replace('_', '-')}": value}), "--out", file)
        assert said.code == 1
        assert f"{file}: holds captions made with {key} " in said.err
        assert file.read_bytes() == before
    assert f"{asked}: holds captions made with prompt" in cli(*common, *flat(settings), "--out", asked).err
    assert cli(*common, *flat(settings | {"--prompt": "Describe this image."}), "--out", out).code == 0

    rows = list(read_captions(out).values())
    for key in ("model", "prompt", "max_tokens", "max_pixels"):
        write_rows(out, [{k: v for k, v in row.items() if k != key} for row in rows])
        said = cli(*common, *flat(settings), "--out", out)
        assert said.code == 1
        assert f"does not say with which {key} " in said.err


def test_caption_with_guidance(cli, llava, photo_dataset, tmp_path):
    """Rows say how much where it is not 1, and files of different guidance are not mixed."""
    common = ["caption", photo_dataset, "--model", llava, "--n", 3, "--max-tokens", 12]
    files = {scale: tmp_path / f"{scale}.jsonl" for scale in (None, 1, 8)}
    for scale, out in files.items():
        assert cli(*common, *([] if scale is None else ["--guidance", scale]), "--out", out).code == 0
    assert files[1].read_bytes() == files[None].read_bytes()
    plain, guided = (list(read_captions(files[scale]).values()) for scale in (1, 8))
    assert not any("guidance" in row for row in plain)
    assert [row["guidance"] for row in guided] == [8.0] * 3
    assert [row["caption"] for row in plain] != [row["caption"] for row in guided]
    for scale, wrong, right in ((1, 8, 1), (8, 1, 8)):
        said = cli(*common, "--guidance", wrong, "--out", files[scale])
        assert said.code == 1
        assert f"holds captions made with guidance {float(right)}, not {float(wrong)}" in said.err
        assert "0 captions written" in cli(*common, "--guidance", right, "--out", files[scale]).err
    for scale in (-1, "nan"):
        assert cli(*common, "--guidance", scale, "--out", tmp_path / "new.jsonl").code == 2
    said = cli(*common, "--guidance", "inf", "--out", tmp_path / "new.jsonl")
    assert said.code == 1
    assert "guidance inf: must be 0 or more" in said.err


def flat(options):
    return [each for option in options.items() for each in option]


def test_ids_of_images(photo_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.png", "b/10.PNG", "b/c/1.jpg", "b/.hidden/3.png", "d/2.png", "b/readme.md"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    write_rows(Path("list.jsonl"), [{"id": "x", "image": "b/2.png"}, {"id": "y", "image": "d/2.png"}])

    def ids(*sources, split=None):
        return [sample.id for sample in find_images([Path(each) for each in sources], split)]

    assert ids("b") == ["10.PNG", "2.png", "c/1.jpg"]
    assert ids("b", "d") == ["b/10.PNG", "b/2.png", "b/c/1.jpg", "d/2.png"]
    assert ids("b/2.png", "d/2.png", "b/2.png") == ["b/2.png", "d/2.png"]
    assert ids("list.jsonl") == ["x", "y"]
    assert find_images([Path("list.jsonl")])[0].image == Path("b/2.png")
    assert len(ids(photo_dataset)) == 34
    assert ids(photo_dataset / "samples.jsonl", split="test") == ids(photo_dataset, split="test")
    with pytest.raises(DataError, match="not a dataset"):
        ids("b", split="test")
    write_rows(Path("b/list.jsonl"), [{"id": "x", "image": "2.png"}, {"id": "x", "image": "10.PNG"}])
    with pytest.raises(DataError, match='two images have the id "x"'):
        ids("b/list.jsonl")
    write_rows(Path("b/list.jsonl"), [{"id": "x", "image": "2.png"}, {"id": "x", "images": ["2.png", "10.PNG"]}])
    with pytest.raises(DataError, match='two images have the id "x"'):
        ids("b/list.jsonl")
    Path("list.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match=r"list\.jsonl:1: image is missing"):
        ids("list.jsonl")


# eval -----------------------------------------------------------------------------------------------------------------


def test_eval_of_two_systems(cli, photo_dataset, tmp_path):
    experts = references(photo_dataset, "test", tmp_path / "experts.jsonl")
    mute = [{"id": s.id, "caption": "A thing."} for s in open_dataset(photo_dataset, "test")]
    mute[0] = {"id": mute[0]["id"], "caption": "", "status": "timeout"}
    said = cli(
        "eval", photo_dataset, write_rows(tmp_path / "mute.jsonl", mute[:-1]), experts, "--json", tmp_path / "n.json",
        "--scorers", "tts", "--out", tmp_path / "run",
    )  # fmt: skip
    assert said.code == 0, said.err
    numbers = json.loads((tmp_path / "n.json").read_text())
    mute_block, experts_block = numbers["systems"]["mute"], numbers["systems"]["experts"]
    assert mute_block["scores"]["tts.micro"]["value"] == 0.0
    assert experts_block["scores"]["tts.micro"]["value"] > 20
    assert mute_block["unknown"] == {"missing_caption": 1, "timeout": 1}
    assert experts_block["file"] == str(experts)
    assert "unknown: 1 missing_caption, 1 timeout" in " ".join(said.out.split())
    assert mute[-1]["id"] in said.err  # the sample without a caption is named
    compared = [(c["a"], c["b"], c["score"], c["images"]) for c in numbers["comparisons"]]
    assert compared == [("mute", "experts", "tts.micro", 4), ("mute", "experts", "length.words", 4)]
    assert "tts.micro: experts against mute +" in said.out
    for row in numbers["comparisons"]:
        assert row["signature"].endswith("|paired:jackknife|test:randomization10000|unit:image|seed:0")
        assert row["p"] >= 2 / 2**4, "of the 16 ways to swap the captions of 4 images, two at least are as far apart"
    assert mute_block["scores"]["tts.micro"]["signature"].endswith("|ci:jackknife|unit:image")
    assert mute_block["scores"]["length.words"]["value"] == 2.0  # length stands beside every score, also unasked
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == numbers
    first = (tmp_path / "run" / "report.html").read_bytes()
    assert cli("report", tmp_path / "run").code == 0
    assert (tmp_path / "run" / "report.html").read_bytes() == first
    assert b"data:image" in first

    shutil.move(photo_dataset, tmp_path / "moved")
    assert "--data" in cli("report", tmp_path / "run").err
    assert cli("report", tmp_path / "run", "--data", tmp_path / "moved").code == 0
    assert (tmp_path / "run" / "report.html").read_bytes() == first


def test_eval_makes_intervals_as_it_is_asked(cli, photo_dataset, tmp_path):
    experts = references(photo_dataset, "test", tmp_path / "experts.jsonl")
    drawn = ["eval", photo_dataset, experts, experts, "--json", tmp_path / "n.json", "--interval", "bca"]
    assert cli(*drawn, "--bootstrap", 50, "--seed", 3).code == 0
    numbers = json.loads((tmp_path / "n.json").read_text())
    signatures = {one["scores"]["tts.micro"]["signature"] for one in numbers["systems"].values()}
    assert all(signature.endswith("|ci:bca50|unit:image|seed:3") for signature in signatures)
    assert "|paired:bca50|test:randomization10000|" in numbers["comparisons"][0]["signature"]
    said = cli("eval", photo_dataset, experts, "--interval", "normal")
    assert said.code == 1
    assert "jackknife, percentile, bca" in said.err


def test_stages_of_a_run_are_tested_by_randomization():
    samples = [Sample(f"s{i}", NO_IMAGE, ("a dog",)) for i in range(12)]
    said = [{sample.id: "a dog " + "runs " * (k + i % 3) for i, sample in enumerate(samples)} for k in range(3)]
    rulers = prepare_scorers(samples, ["length"])
    stages = [evaluate(samples, rows, rulers, name=name) for name, rows in zip(("base", "warmup", "rsrs"), said)]

    def compare_in_order(stages, starts=None):
        return compare_headlines(stages, stages_in_order([one.name for one in stages], starts))

    found = compare_in_order(stages)
    assert [(c.a, c.b) for c in found] == [("base", "warmup"), ("warmup", "rsrs"), ("base", "rsrs")]
    more = replace(stages[2], name="more")
    forked = compare_in_order([*stages, more], {"rsrs": "base", "more": "warmup"})
    in_order = [("base", "warmup"), ("warmup", "rsrs"), ("rsrs", "more")]
    assert [(c.a, c.b) for c in forked] == [*in_order, ("base", "rsrs"), ("warmup", "more"), ("base", "more")]
    assert all("|test:randomization10000|" in c.signature for c in found)
    assert all(c.p == pytest.approx(2 / 2**12, abs=6e-4) for c in found)


def test_eval_keeps_out_of_training_runs(cli, photo_dataset, tmp_path):
    experts = references(photo_dataset, "test", tmp_path / "experts.jsonl")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    said = cli("eval", photo_dataset, experts, "--out", tmp_path / "run")
    assert said.code == 1
    assert "training run" in said.err


def test_names_of_systems():
    assert name_systems([Path("a/rsrs.jsonl"), Path("b/sft.jsonl")]) == ["rsrs", "sft"]
    assert name_systems([Path("a/captions/rsrs.jsonl"), Path("b/captions/rsrs.jsonl")]) == ["a-rsrs", "b-rsrs"]
    assert name_systems([Path("x.jsonl"), Path("x.jsonl")]) == ["x-1", "x-2"]


def test_which_split_is_measured(photo_dataset):
    dataset = open_dataset(photo_dataset)
    ids = {name: [s.id for s in dataset.split(name)] for name in dataset.splits}
    assert list(choose_samples(dataset, dict.fromkeys(ids["val"][:2]), said=False).splits) == ["val"]
    assert len(choose_samples(dataset, dict.fromkeys(s.id for s in dataset), said=False)) == 34
    with pytest.raises(DataError, match="--split"):
        choose_samples(dataset, dict.fromkeys(ids["val"] + ids["test"]), said=False)


# data -----------------------------------------------------------------------------------------------------------------


def test_data_check_says_where(cli, photo_dataset):
    rows = (photo_dataset / "samples.jsonl").read_text().splitlines()
    rows[2] = rows[1]
    (photo_dataset / "samples.jsonl").write_text("\n".join(rows) + "\n")
    open_path = json.loads(rows[4])["image"]
    (photo_dataset / open_path).write_bytes(b"no image")
    said = cli("data", "check", photo_dataset)
    assert said.code == 1
    assert f"{photo_dataset}/samples.jsonl:3: error: the id was used on line 2" in said.out
    assert "samples.jsonl:5: error:" in said.out
    assert "34 samples, 2 errors, 0 warnings; not usable" in said.out


@pytest.mark.parametrize("given", ["photos", "photos/samples.jsonl", "./photos/", "../{here}/photos"])
def test_data_check_names_files_that_open_from_here(given, cli, photo_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (photo_dataset / "samples.jsonl").write_text("{\n")
    (photo_dataset / "vocabulary.yaml").write_text("dog: [\n")
    said = cli("data", "check", given.format(here=tmp_path.name))
    files = [
        Path(line.partition(": error: ")[0].split(":")[0]) for line in said.out.splitlines() if ": error: " in line
    ]
    assert {file.name for file in files} == {"samples.jsonl", "vocabulary.yaml"}
    assert all(file.is_file() and not file.is_absolute() for file in files)


def test_data_convert_there_and_back(cli, photo_dataset, tmp_path):
    assert cli("data", "convert", photo_dataset, tmp_path / "ecac", "--layout", "ecac").code == 0
    assert cli("data", "convert", tmp_path / "ecac", tmp_path / "back").code == 0
    there, back = open_dataset(photo_dataset), open_dataset(tmp_path / "back")
    assert [s.references for s in there] == [s.references for s in back]
    assert [s.terms for s in there] == [s.terms for s in back]
    assert cli("data", "convert", photo_dataset, tmp_path / "back").code == 1
    assert cli("data", "convert", photo_dataset, tmp_path / "back", "--overwrite").code == 0


def test_data_from_coco(cli, tmp_path):
    said = cli("data", "from-coco", PHOTOS / "annotations.json", PHOTOS, tmp_path / "new", "--split", "test")
    assert said.code == 0, said.err
    assert "34 samples, 80 terms" in said.err
    assert dict(open_dataset(tmp_path / "new").splits) == {"test": 34}


# train ----------------------------------------------------------------------------------------------------------------


def test_dry_run_trains_nothing(cli, llava, short, photo_dataset, tmp_path):
    settings = [f"model.name={llava}", f"data.path={photo_dataset}", *short]
    said = cli("train", "rsrs-scenes", *settings, "--dry-run", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert "22 images to learn from" in said.out
    assert "rsrs: heaviest step tried" in said.out
    assert not (tmp_path / "run").exists()


# scenes ---------------------------------------------------------------------------------------------------------------


def test_scenes(cli, tmp_path):
    built = cli("scenes", "build", "--n", 10, "--seed", 3, "--out", tmp_path / "s", "--layout", "ecac", "--size", 48)
    assert built.code == 0, built.err
    dataset = open_dataset(tmp_path / "s")
    assert (dataset.layout, len(dataset)) == ("ecac", 10)
    assert Image.open(dataset[0].image).size == (48, 48)
    assert cli("scenes", "build", "--n", 10, "--out", tmp_path / "s").code == 1

    for more in ([], ["--toys"]):
        shown = cli("scenes", "show", "--n", 3, "--size", 64, "--out", tmp_path / "sheet.png", *more)
        assert shown.code == 0, shown.err
        assert Image.open(tmp_path / "sheet.png").width > 180


# doctor ---------------------------------------------------------------------------------------------------------------


def test_doctor(cli, monkeypatch):
    said = cli("doctor")
    assert said.code == 0
    assert "embedded captioner: there, " in said.out
    assert said.out.splitlines()[-1].startswith("verdict: all is well")
    for word in ("capwright 0.", "torch", "device: ", "extra vision", "embedded captioner", "disk", "verdict"):
        assert word in said.out
    monkeypatch.setattr("capwright.cli.doctor.LOW_SPACE", 1 << 60)
    poor = cli("doctor")
    assert poor.code == 1
    assert "little disk space" in poor.out.splitlines()[-1]


# report ---------------------------------------------------------------------------------------------------------------


def test_report_with_the_data_of_another_run(cli, photo_dataset, tmp_path):
    said = references(photo_dataset, "test", tmp_path / "experts.jsonl")
    assert cli("eval", photo_dataset, said, "--out", tmp_path / "run").code == 0
    strangers = (replace(s, id=f"other {s.id}") for s in open_dataset(photo_dataset))
    write_dataset(strangers, tmp_path / "other", open_dataset(photo_dataset).vocabulary)
    answer = cli("report", tmp_path / "run", "--data", tmp_path / "other")
    assert answer.code == 1
    assert "none of the captioned samples" in answer.err


# benchmark ------------------------------------------------------------------------------------------------------------


def test_eval_under_a_benchmark(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPWRIGHT_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: mine\nversion: 1\nsource: this test\ndata: {scenes: {n: 60, size: 24}}\nscorers: {tts: {penalty: 0.5}}\n"
    )
    asked = cli("eval", "--benchmark", mine)
    assert asked.code == 0, asked.err
    assert re.search(r"benchmark mine, version 1, [0-9a-f]{12}: this test", asked.out)
    place = re.search(r"capwright caption (\S+) --split test --max-tokens 48", asked.err)[1]
    said = references(place, "test", tmp_path / "said.jsonl")
    told = cli("eval", "--benchmark", mine, said, "--json", tmp_path / "n.json", "--out", tmp_path / "run")
    assert told.code == 0, told.err
    found = json.loads((tmp_path / "n.json").read_text())
    assert found["systems"]["said"]["scores"]["tts.micro"]["value"] > 90
    assert "length.words" not in found["systems"]["said"]["scores"], "the benchmark says what is measured"
    assert (found["benchmark"]["name"], found["benchmark"]["version"]) == ("mine", "1")
    page = (tmp_path / "run" / "report.html").read_text()
    for value in (found["benchmark"]["digest"], found["benchmark"]["fingerprint"], "this test"):
        assert value in page
    rows = [json.loads(line) | {"max_tokens": 9} for line in said.read_text().splitlines()]
    other = cli("eval", "--benchmark", mine, write_rows(tmp_path / "other.jsonl", rows), "--data", place)
    assert "captions were made with max_tokens 9, the benchmark mine says 48" in other.err


def test_what_a_benchmark_does_not_take(cli, photo_dataset, tmp_path):
    said = references(photo_dataset, "test", tmp_path / "said.jsonl")
    for arguments, says in (
        (["--benchmark", "kindergarten", said, "--scorers", "tts"], "says scorers and split itself"),
        ([photo_dataset, said, "--data", photo_dataset], "--data is for --benchmark"),
        (["--benchmark", "kindergarden", said], "Did you mean 'kindergarten'"),
        ([photo_dataset], "name at least one file of captions"),
    ):
        refused = cli("eval", *arguments)
        assert refused.code == 1, arguments
        assert says in refused.err


def test_categories_of_coco_are_known_by_everyday_words(cli, tmp_path):
    out = tmp_path / "photos"
    assert cli("data", "from-coco", PHOTOS / "annotations.json", PHOTOS, out).code == 0
    vocabulary = read_vocabulary(out / "vocabulary.yaml")
    assert {"man", "woman", "child"} <= set(vocabulary["person"].aliases)
    assert not shared_names(vocabulary), "no word stands for two things"
    sample = next(one for one in open_dataset(out) if any(term.name == "person" for term in one.terms))
    scorer = get_scorer("tts")
    context = scorer.prepare(Corpus([sample], vocabulary))
    rows = scorer.stats([Item(sample, "A man in a kitchen."), Item(sample, "A thing.")], context).rows
    assert scorer.finalize(rows)[0, 0] > 0
    assert scorer.finalize(rows)[1, 0] == 0
