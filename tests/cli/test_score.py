"""capwright score, compare and report on files of captions."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from places import CAPTIONS, TESTS

REFERENCES, RESULTS = CAPTIONS / "fakecap1000_references.json.gz", CAPTIONS / "fakecap1000_results.json.gz"
CORE = "bleu,rougeL,ciderD,length"


@pytest.fixture
def files(tmp_path):
    """Predictions a.json and b.csv, references.jsonl, of four images."""
    references = {
        "1": ["a geoboard on a table", "a board with pegs and bands"],
        "2": ["two children ride a balance bike", "children on a small bike"],
        "3": ["a child beats a drum", "a girl plays a red drum"],
        "4": ["wooden blocks in a tower", "a tower of blocks"],
    }
    said = {"1": "a toy on a table", "2": "children on a bike", "3": "a child with a toy", "4": "blocks"}
    better = {"1": "a geoboard on the table", "2": "children ride a bike", "3": "a girl beats a drum", "4": "a tower"}
    rows = [json.dumps({"id": id, "references": texts}) for id, texts in references.items()]
    (tmp_path / "references.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps(said), encoding="utf-8")
    with (tmp_path / "b.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "caption"], *better.items()])
    return tmp_path


def test_references_given_as_captions_are_told_by_eval_as_by_score(cli, tmp_path):
    texts = [
        f"a {color} toy lies on the {place}" for color in ("red", "blue", "grey") for place in ("mat", "rug", "box")
    ]
    (tmp_path / "data").mkdir()
    rows = [
        {"id": str(n), "image": f"{n}.png", "split": "test", "references": [text, f"the toy number {n} is there"]}
        for n, text in enumerate(texts * 2)
    ]
    for row in rows:
        (tmp_path / "data" / row["image"]).write_bytes(b"")
    (tmp_path / "data" / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = tmp_path / "said.jsonl"
    said.write_text("".join(json.dumps({"id": row["id"], "caption": row["references"][0]}) + "\n" for row in rows))
    for command, *files in (("score", said, tmp_path / "data"), ("eval", tmp_path / "data", said)):
        told = cli(command, *files, "--scorers", "rougeL", "--bootstrap", 0)
        assert told.code == 0, told.err
        assert "18 of 18 captions (100%) are copies of one of their own references" in told.err
        assert "the scores mean nothing" in told.err


def test_one_system_from_the_shell_as_a_newcomer_types_it(tmp_path):
    line = [sys.executable, "-m", "capwright", "score", str(RESULTS), str(REFERENCES), "--scorers", CORE]
    done = subprocess.run([*line, "--json", "scores.json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    scores = found["systems"]["fakecap1000_results"]["scores"]
    assert scores["ciderD"]["value"] == pytest.approx(0.5998, abs=5e-4)
    assert scores["bleu4"]["value"] == pytest.approx(0.1908, abs=5e-4)
    assert scores["rougeL"]["low"] < scores["rougeL"]["value"] < scores["rougeL"]["high"]
    assert "0.5998 (" in done.stdout
    assert "ciderD|n:4|sigma:6|idf:refs@1000#" in done.stdout
    assert scores["ciderD"]["signature"] in done.stdout


def test_the_same_seed_gives_the_same_file(cli, files):
    for name in ("one.json", "two.json"):
        said = cli("score", files / "a.json", files / "references.jsonl", "--scorers", CORE, "--json", files / name)
        assert said.code == 0, said.err
    assert (files / "one.json").read_bytes() == (files / "two.json").read_bytes()
    cli(
        "score",
        files / "a.json",
        files / "references.jsonl",
        "--scorers",
        CORE,
        "--seed",
        1,
        "--json",
        files / "3.json",
    )
    assert (files / "3.json").read_bytes() != (files / "one.json").read_bytes()


def test_several_systems_are_tested_against_the_first(cli, files):
    said = cli("score", files / "a.json", files / "b.csv", files / "references.jsonl", "--scorers", CORE)
    assert said.code == 0, said.err
    assert "ciderD: b against a +" in said.out
    assert "p = " in said.out or "p < " in said.out


def test_compare_says_what_is_chance(cli, files):
    said = cli("compare", files / "a.json", files / "b.csv", files / "references.jsonl", "--scorers", CORE)
    assert said.code == 0, said.err
    row = next(line for line in said.out.splitlines() if line.split()[:1] == ["rougeL"])
    a, b, difference = (float(word) for word in row.split()[1:4])
    assert difference == pytest.approx(b - a, abs=2e-4)
    assert "A is a, B is b; 4 images" in said.out


def test_meteor_without_its_jar_is_not_installed_and_not_zero(cli, files, monkeypatch):
    monkeypatch.setenv("CAPWRIGHT_JARS", str(files))
    monkeypatch.setenv("CAPWRIGHT_CACHE", "off")
    said = cli("score", files / "a.json", files / "references.jsonl", "--json", files / "s.json")
    assert said.code == 0, said.err
    row = next(line for line in said.out.splitlines() if line.split()[:1] == ["meteor"])
    assert "not installed" in row
    assert "pip install" in said.err
    block = json.loads((files / "s.json").read_text(encoding="utf-8"))["systems"]["a"]["scores"]["meteor"]
    assert block["value"] is None
    alone = cli("score", files / "a.json", files / "references.jsonl", "--scorers", "meteor")
    assert alone.code == 1
    assert "not installed" in alone.err


def test_trouble_is_named(cli, files):
    short = files / "short.json"
    short.write_text(json.dumps({"1": "a toy", "2": "a bike"}), encoding="utf-8")
    line = ["score", short, files / "references.jsonl", "--scorers", CORE]
    said = cli(*line)
    assert said.code == 1
    assert '"3"' in said.err
    assert '"4"' in said.err
    assert cli(*line, "--missing", "skip").code == 0
    assert "missing_caption" in cli(*line, "--missing", "skip").out
    assert cli(*line, "--missing", "empty").code == 0
    swapped = cli("score", REFERENCES, RESULTS, "--scorers", CORE)
    assert swapped.code == 1
    assert "swapped" in swapped.err or "references last" in swapped.err
    for arguments, word in (
        ([files / "a.json"], "PRED"),
        ([files / "a.json", files / "references.jsonl", "--scorers", "cidre"], "did you mean"),
        ([files / "a.json", files / "references.jsonl", "--set", "ciderD"], "SCORER.OPTION=VALUE"),
        (
            [files / "a.json", files / "references.jsonl", "--scorers", CORE, "--set", "ciderD.sgima=4"],
            "--set ciderD.sgima: unknown",
        ),
        (
            [files / "a.json", files / "references.jsonl", "--scorers", CORE, "--set", "ciderD.sigma=0"],
            "--set ciderD.sigma: must be a number above 0, not 0",
        ),
        (
            [files / "a.json", files / "references.jsonl", "--set", "cidre.n=2"],
            "--set cidre: there is no scorer 'cidre'",
        ),
        ([files / "a.json", files / "references.jsonl", "--scorers", CORE, "--interval", "bcd"], "bca"),
        ([files / "a.json", files / "references.jsonl", "--scorers", CORE, "--tokenizer", "ptbb"], "ptb"),
        (
            [files / "a.json", files / "references.jsonl", "--scorers", CORE, "--trained-on", "x=ciderD"],
            "systems are a",
        ),
        ([files / "a.json", files / "nowhere.json"], "nowhere.json"),
    ):
        said = cli("score", *arguments)
        assert said.code == 1, arguments
        assert word in said.err, (arguments, said.err)


def test_stray_line_breaks_move_no_score(cli, tmp_path):
    import gzip

    with gzip.open(RESULTS, "rt", encoding="utf-8") as file:
        rows = json.load(file)
    outs = []
    for name, breaks in (("clean", " "), ("dirty", "\r")):
        changed = [dict(row) for row in rows]
        for row, mark in zip(changed[10:14], ["\r", "\u2028", "\x0b", "\r\n"]):
            row["caption"] = row["caption"].replace(" ", mark if breaks == "\r" else " ", 1)
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(changed), encoding="utf-8")
        said = cli("score", path, REFERENCES, "--scorers", "bleu,rougeL,ciderD", "--json", tmp_path / "out.json")
        assert said.code == 0, said.err
        system = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["systems"][name]
        outs.append(
            ([row["scores"] for row in system["per_image"]], {k: v["value"] for k, v in system["scores"].items()})
        )
    assert outs[0] == outs[1]
    assert str(rows[10]["image_id"]) in said.err, "the ids are named"


def test_a_frozen_idf_table_of_ones_own(cli, files):
    table = files / "idf.tsv.gz"
    assert cli("score", "build-idf", files / "references.jsonl", "--out", table).code == 0
    values = []
    for option in (["--idf", table], []):
        line = [
            "score",
            files / "a.json",
            files / "references.jsonl",
            "--scorers",
            "ciderD",
            "--json",
            files / "x.json",
        ]
        said = cli(*line, *option)
        assert said.code == 0, said.err
        block = json.loads((files / "x.json").read_text(encoding="utf-8"))["systems"]["a"]["scores"]["ciderD"]
        values.append((block["value"], block["signature"]))
    assert values[0][0] == pytest.approx(values[1][0], abs=1e-12)
    assert "idf:refs@4" in values[1][1]
    assert "idf:refs" not in values[0][1]


def test_scores_that_were_trained_on_are_marked(cli, files):
    run = files / "run"
    (run / "captions").mkdir(parents=True)
    rows = [{"id": id, "caption": text} for id, text in json.loads((files / "a.json").read_text("utf-8")).items()]
    for name in ("base", "warmup", "rl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (run / "captions" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    summary = {"base": {}, "warmup": {}, "rl": {}, "run": {"trained_on": {"reward": "ciderD|n:4|reward:ciderD"}}}
    steps = [{"kind": "step", "stage": "warmup"}, {"kind": "step", "stage": "rl", "reward": {"reward": 0.5}}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps), encoding="utf-8")
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    said = [run / "captions" / f"{name}.jsonl" for name in ("base", "warmup", "rl")]
    line = ["score", *said, files / "references.jsonl"]
    said = cli(*line, "--scorers", CORE, "--json", files / "s.json")
    assert "trained on this" in said.out
    base, warmup, rl = json.loads((files / "s.json").read_text(encoding="utf-8"))["systems"].values()
    assert rl["scores"]["ciderD"]["trained_on"] is True
    assert "trained_on" not in base["scores"]["ciderD"]
    assert "trained_on" not in warmup["scores"]["ciderD"], "it never saw the reward"
    said = cli("score", files / "a.json", files / "references.jsonl", "--scorers", CORE, "--trained-on", "a=bleu")
    assert sum("*" in line for line in said.out.splitlines()) == 4 + 1


def test_agreement_with_ratings(cli, files):
    scores, ratings = files / "s.json", files / "ratings.csv"
    cli("score", files / "a.json", files / "references.jsonl", "--scorers", CORE, "--json", scores)
    per_image = json.loads(scores.read_text(encoding="utf-8"))["systems"]["a"]["per_image"]
    with ratings.open("w", newline="", encoding="utf-8") as file:
        rows = [[row["id"], row["scores"]["rougeL"]] for row in per_image]
        csv.writer(file).writerows([["id", "rating"], *rows])
    said = cli("score", "agreement", scores, ratings, "--scores", "rougeL")
    assert said.code == 0, said.err
    row = next(line for line in said.out.splitlines() if line.split()[:1] == ["rougeL"])
    assert row.split()[1] == "+1.000"
    assert "tau-b" in said.out
    assert cli("score", "agreement", scores, ratings, "--scores", "ciderd").code == 1


def test_ratings_by_caption_from_the_command_line(cli, tmp_path):
    folder = TESTS / "data" / "cases" / "expert-annotations"
    said = json.loads((folder / "pred.json").read_text())
    for n in (0, 1):
        (tmp_path / f"{n}.json").write_text(json.dumps({image: texts[n] for image, texts in said.items()}))
    token = tmp_path / "Flickr8k.token.txt"
    token.write_text("".join(f"{image}#{n}\t{said[image][0]}\n" for image in said for n in range(3)))
    scores = tmp_path / "s.json"
    files = [tmp_path / "0.json", tmp_path / "1.json", folder / "refs.json"]
    assert cli("score", *files, "--scorers", "rougeL", "--json", scores).code == 0
    found = cli("score", "agreement", scores, folder / "ExpertAnnotations.txt", "--captions", token)
    assert found.code == 0, found.err
    assert next(line for line in found.out.splitlines() if line.split()[:1] == ["rougeL"]).split()[-1] == "6"
    together = cli("score", folder / "pred.json", folder / "refs.json", "--scorers", "rougeL", "--json", scores)
    assert together.code == 0, together.err
    (tmp_path / "r.csv").write_text("id,rating\n1001.jpg,4\n1002.jpg,1\n1003.jpg,2\n")
    found = cli("score", "agreement", scores, tmp_path / "r.csv")
    assert "3 rated images have several captions" in found.err


def test_the_list_names_every_scorer(cli):
    from capwright.scorers import list_scorers

    said = cli("score", "list")
    assert said.code == 0
    for name in list_scorers():
        assert any(line.split()[:1] == [name] for line in said.out.splitlines()), name


def test_report_of_captions(cli, files):
    out = files / "page.html"
    line = ["report", files / "a.json", files / "b.csv", files / "references.jsonl", "--scorers", CORE, "--out", out]
    said = cli(*line, "--trained-on", "b=ciderD")
    assert said.code == 0, said.err
    page = out.read_text(encoding="utf-8")
    assert "ROUGE-L" in page
    assert "trained on this" in page
    assert cli(*line, "--data", files).code == 1


def test_eval_measures_with_them_too(cli, photo_dataset, tmp_path):
    from capwright import open_dataset

    said = tmp_path / "said.jsonl"
    rows = [{"id": s.id, "caption": s.references[0]} for s in open_dataset(photo_dataset, "val")]
    said.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = cli("eval", photo_dataset, said, "--split", "val", "--scorers", "ciderD,chair,tts,distinct,repetition")
    assert result.code == 0, result.err
    assert "chairS" in result.out
    assert "ciderD" in result.out


def test_numbers_go_to_a_link_or_a_pipe_as_they_are(cli, files):
    scored = ["score", files / "a.json", files / "references.jsonl", "--scorers", "length", "--json"]
    (files / "link.json").symlink_to(files / "there.json")
    assert cli(*scored, files / "link.json").code == 0
    assert (files / "link.json").is_symlink()
    assert json.loads((files / "there.json").read_text(encoding="utf-8"))["images"] == 4
    os.mkfifo(files / "pipe")
    with subprocess.Popen(["cat", files / "pipe"], stdout=subprocess.PIPE) as reader:
        assert cli(*scored, files / "pipe").code == 0
        assert json.loads(reader.communicate(timeout=10)[0])["images"] == 4
    assert (files / "pipe").is_fifo()


def test_clusters_are_columns_of_the_references(cli, files):
    rows = [f"{id},a toy,room {id // 3}" for id in (1, 2, 3, 4)]
    (files / "rooms.csv").write_text("\n".join(["id,caption,room", *rows]), encoding="utf-8")
    said = cli("score", files / "a.json", files / "rooms.csv", "--scorers", "rougeL", "--cluster", "room")
    assert said.code == 0, said.err
    assert "unit:meta.room" in said.out
    assert cli("score", files / "a.json", files / "rooms.csv", "--scorers", "rougeL", "--cluster", "film").code == 1


def test_what_is_said_only_when_it_is_so(cli, files):
    scored = ["score", files / "a.json", files / "b.csv", files / "references.jsonl", "--scorers", "rougeL"]
    assert cli(*scored, "--seed", "-1").code == 2
    unknown = cli(*scored, "--trained-on", "a=rouge")
    assert unknown.code == 1
    assert 'did you mean "rougeL"' in unknown.err
    assert "trained on this" not in cli(*scored, "--trained-on", "a=tts").out
    assert "trained on this" in cli(*scored, "--trained-on", "a=rougeL").out
    bare = cli(*scored, "--bootstrap", "0")
    line = next(line for line in bare.out.splitlines() if line.startswith("rougeL: b against a"))
    assert "unknown" not in line
    assert "p = " in line
    (files / "some.json").write_text('{"1": "a toy", "x": "a toy"}', encoding="utf-8")
    lost = cli("score", files / "some.json", files / "references.jsonl", "--scorers", "rougeL", "--missing", "skip")
    assert lost.err.count("have no caption") == lost.err.count("belong to no sample") == 1


def test_a_file_name_that_is_no_text(cli, files):
    name = os.fsdecode(bytes(files) + b"/\xff.json")
    shutil.copy(files / "a.json", name)
    scored = [name, files / "references.jsonl", "--scorers", "length"]
    done = subprocess.run(
        [sys.executable, "-m", "capwright", "score", *scored, "--json", files / "x.json"],
        capture_output=True,
        check=True,
    )
    assert b"captions measured" in done.stdout
    assert list(json.loads((files / "x.json").read_text(encoding="utf-8"))["systems"]) == ["\udcff"]
    subprocess.run([sys.executable, "-m", "capwright", "report", *scored, "--out", files / "x.html"], check=True)


def test_warnings_of_scorers_are_lines(capsys):
    from capwright.console import warnings_said

    with warnings_said():
        warnings.warn("no answer in time", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: no answer in time\n"


def test_captions_that_one_scorer_could_not_measure_are_counted(capsys):
    from capwright import Sample
    from capwright.cli._tables import print_scores
    from capwright.evaluation import Scoring, evaluate
    from capwright.scorers import Length, Stats

    class Slow(Length):
        def stats(self, items, context):
            found = super().stats(items, context)
            return Stats(found.rows, found.owner, ("timeout", *found.status[1:]), found.evidence)

    samples = [Sample(id, Path("x.png")) for id in "123"]
    said = {"1": "a toy", "2": "a board", "3": {"caption": "", "status": "refusal"}}
    print_scores(Scoring((evaluate(samples, said, [Slow()], replicates=10, name="a"),)))
    shown = capsys.readouterr().out
    assert "2, unknown: 1 refusal" in shown
    assert shown.split("of these by length")[1].split()[0] == "1"
    print_scores(Scoring((evaluate(samples, said, ["length"], replicates=10, name="a"),)))
    assert "of these" not in capsys.readouterr().out


def test_compare_says_when_scores_are_of_other_images_than_the_difference(cli, files):
    (files / "some.json").write_text('{"1": "a toy", "2": "a bike"}', encoding="utf-8")
    compared = [files / "references.jsonl", "--scorers", "rougeL,length"]
    whole = cli("compare", files / "a.json", files / "b.csv", *compared)
    assert "4 images known to both\n" in whole.out
    part = cli("compare", files / "a.json", files / "some.json", *compared, "--missing", "skip")
    assert "2 images known to both, which B - A is of; A and B stand for all that each one knows" in part.out


def test_names_of_many_systems_are_not_cut_off(cli, files):
    names = [f"a_captioner_with_a_name_{number}" for number in range(8)]
    for name in names:
        shutil.copy(files / "a.json", files / f"{name}.json")
    said = cli("score", *(files / f"{name}.json" for name in names), files / "references.jsonl", "--scorers", "length")
    assert "\u2026" not in said.out
    heading = said.out.split("\u2500")[0]
    assert sorted("".join(heading.split())) == sorted("".join(names))


def test_an_idf_table_that_nothing_would_use_is_refused(cli, files):
    scored = ["score", files / "a.json", files / "references.jsonl", "--idf", "coco-val2014", "--scorers"]
    assert "--idf coco-val2014: is for cider, ciderD and diversity" in cli(*scored, "bleu").err
    assert "idf:coco-val2014@" in cli(*scored, "diversity").out


def test_a_folder_of_images_must_be_there(cli, files):
    line = ["report", files / "a.json", files / "references.jsonl", "--scorers", "rougeL", "--out", files / "p.html"]
    said = cli(*line, "--images", files / "nosuch")
    assert said.code == 1
    assert "nosuch: is not a folder" in said.err


def test_comparisons_go_by_the_names_of_scores(cli, files):
    line = ["score", files / "a.json", files / "b.csv", files / "references.jsonl", "--scorers", "bleu,length"]
    assert cli(*line, "--json", files / "s.json").code == 0
    found = json.loads((files / "s.json").read_text(encoding="utf-8"))
    assert {c["score"] for c in found["comparisons"]} <= set(found["systems"]["a"]["scores"])
