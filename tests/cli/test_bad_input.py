"""Bad input gets a message that says what and where, exit code 1, and no traceback; nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from capwright import open_dataset, read_captions


@pytest.fixture
def settings(llava, photo_dataset, short):
    return [f"model.name={llava}", f"data.path={photo_dataset}", *short]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], ["recipe 'nope'", "rsrs-scenes"]),
        (["rsrs-scene"], ["Did you mean 'rsrs-scenes'"]),
        ([], ["name a recipe"]),
        (["rsrs-scenes", "stages.rsrs.step=3"], ["stages.rsrs.step", "did you mean 'steps'"]),
        (["rsrs-scenes", "seed"], ["override 'seed'", "key=value"]),
        (["rsrs-scenes", "seed=x"], ["seed", "'x'"]),
        (["rsrs-scenes", "model.name=./no/such/model"], ["loading ./no/such/model", "error: model './no/such/model'"]),
        (["rsrs-scenes", "evaluation.scorers=[ttss]"], ["ttss", "did you mean 'tts'"]),
        (["rsrs-scenes", "rewards.tts.scorer=ttss"], ["ttss"]),
        (["rsrs-scenes", "data.eval_split=tests"], ["tests", '"test"']),
        (["rsrs-scenes", "stages.warmup.name=run"], ["'run'", "another name"]),
        (["rsrs-scenes", "data.path={tmp}/nowhere"], ["{tmp}/nowhere", "does not exist"]),
        (
            ["rsrs-scenes", "stages.rsrs.sampling.guidance=2"],
            ["stages.rsrs.sampling.guidance: 2 draws captions from another", "leave it at 1 (evaluation.sampling.guid"],
        ),
        (["--resume", "{tmp}/nowhere"], ["{tmp}/nowhere", "recipe.yaml"]),
        (["--resume", "{tmp}/a", "--out", "{tmp}/b"], ["--out"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_train(arguments, words, cli, settings, tmp_path):
    arguments = [each.format(tmp=tmp_path) for each in arguments]
    if arguments and arguments[0] == "rsrs-scenes":
        arguments[1:1] = settings
    if "--resume" not in arguments:
        arguments += ["--out", str(tmp_path / "run")]
    said = cli("train", *arguments)
    assert said.code == 1
    first, *others = said.err.removeprefix("loading ").splitlines()
    assert first.startswith("error: ") or others[0].startswith("error: ")
    for word in words:
        assert word.format(tmp=tmp_path) in said.err


def test_a_start_that_failed_is_not_in_the_way(cli, settings, tmp_path):
    assert cli("train", "rsrs-scenes", *settings, "model.name=./none", "--out", tmp_path / "run").code == 1
    assert cli("train", "rsrs-scenes", *settings, "--out", tmp_path / "run").code == 0
    again = cli("train", "rsrs-scenes", *settings, "--out", tmp_path / "run")
    assert again.code == 1
    assert f"--resume {tmp_path / 'run'}" in again.err


def test_a_file_where_a_folder_should_be(cli, settings, llava, photo_dataset, tmp_path):
    (tmp_path / "file").write_text("")
    there = tmp_path / "file" / "below"
    said = tmp_path / "said.jsonl"
    cli("caption", photo_dataset, "--model", llava, "--out", said, "--n", 2, "--max-tokens", 4)
    for arguments in (
        ["train", "rsrs-scenes", *settings, "--out", there],
        ["demo", *settings, "--out", there],
        ["caption", photo_dataset, "--model", llava, "--out", there / "said.jsonl"],
        ["eval", photo_dataset, said, "--out", there],
        ["eval", photo_dataset, said, "--json", there / "numbers.json"],
        ["data", "convert", photo_dataset, there],
        ["scenes", "build", "--n", 2, "--out", there],
        ["scenes", "show", "--n", 1, "--size", 64, "--out", there / "sheet.png"],
    ):
        answer = cli(*arguments)
        assert answer.code == 1, arguments
        assert str(there) in answer.err, arguments


def test_missing_and_unknown_files(cli, llava, photo_dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.jsonl").write_text('{"id": "1", "caption": 3}\n')
    (tmp_path / "other.jsonl").write_text('{"id": "nobody", "caption": "A dog."}\n')
    for arguments, words in (
        (["caption", tmp_path / "no.jpg", "--model", llava, "--out", tmp_path / "o.jsonl"], "no.jpg: does not exist"),
        (["caption", tmp_path / "empty", "--model", llava, "--out", tmp_path / "o.jsonl"], "holds no images"),
        (["caption", photo_dataset, "--split", "tset", "--model", llava, "--out", tmp_path / "o.jsonl"], '"test"'),
        (["caption", photo_dataset, "--model", llava, "--dtype", "float8", "--out", tmp_path / "o.jsonl"], "float8"),
        (["caption", photo_dataset, "--model", llava, "--device", "tpu", "--out", tmp_path / "o.jsonl"], "tpu"),
        (["eval", photo_dataset, tmp_path / "none.jsonl"], "none.jsonl"),
        (["eval", photo_dataset, tmp_path / "torn.jsonl"], "torn.jsonl:1"),
        (["eval", photo_dataset, tmp_path / "other.jsonl"], '"nobody"'),
        (["eval", tmp_path / "empty", tmp_path / "other.jsonl"], "not a dataset"),
        (["eval", photo_dataset, tmp_path / "other.jsonl", "--scorers", "bleu9"], "bleu9"),
        (["report", tmp_path / "empty"], "nothing to report"),
        (["report", tmp_path / "gone"], "no such run folder"),
        (["data", "convert", tmp_path / "empty", tmp_path / "new"], "not a dataset"),
        (["data", "convert", photo_dataset, tmp_path / "new", "--layout", "voc"], "voc"),
        (["data", "from-coco", tmp_path / "torn.jsonl", tmp_path, tmp_path / "new"], "torn.jsonl"),
        (["scenes", "build", "--n", 0, "--out", tmp_path / "s"], "0 scenes"),
        (["scenes", "show", "--out", tmp_path / "sheet.doc"], "sheet.doc"),
    ):
        said = cli(*arguments)
        assert said.code == 1, arguments
        assert words in said.err, (arguments, said.err)


def test_dataset_without_a_train_split_and_with_an_unknown_term(cli, settings, photo_dataset, tmp_path):
    file = photo_dataset / "samples.jsonl"
    good = file.read_text()
    file.write_text(good.replace('"train"', '"tain"'))
    said = cli("train", "rsrs-scenes", *settings, "--out", tmp_path / "run")
    assert said.code == 1
    assert '"train"' in said.err
    assert '"tain"' in said.err
    assert cli("data", "check", photo_dataset).code == 0  # a warning: it can be measured on

    rows = good.splitlines()
    row = json.loads(rows[1])
    row["terms"].append("unicorn")
    rows[1] = json.dumps(row)
    file.write_text("\n".join(rows) + "\n")
    for answer in (
        cli("data", "check", photo_dataset),
        cli("train", "rsrs-scenes", *settings, "--out", tmp_path / "r"),
    ):
        assert answer.code == 1
        assert "samples.jsonl:2" in answer.out + answer.err
        assert "unicorn" in answer.out + answer.err


def test_byte_order_marks_and_line_ends_of_windows(cli, settings, llava, photo_dataset, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_bytes(b"\xef\xbb\xbfextends: rsrs-scenes\r\nname: mine\r\ndata.scenes: null\r\n")
    for file in (photo_dataset / "samples.jsonl", photo_dataset / "vocabulary.yaml"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert cli("data", "check", photo_dataset).code == 0
    done = cli("train", recipe, *settings, "data.eval_limit=2", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    said = tmp_path / "run" / "captions" / "rsrs.jsonl"
    said.write_bytes(b"\xef\xbb\xbf" + said.read_bytes().replace(b"\n", b"\r\n"))
    assert cli("eval", photo_dataset, said, "--split", "val").code == 0


@pytest.fixture
def odd_images(tmp_path) -> Path:
    """Images of every kind people have, good and bad."""
    folder = tmp_path / "odd"
    (folder / "deeper").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image.save(folder / "a.png")
    Image.new("RGB", (1, 1), "red").save(folder / "b-dot.png")
    Image.new("RGB", (20_000, 10), "red").save(folder / "c-strip.png")
    image.convert("CMYK").save(folder / "d-cmyk.jpg")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 200).save(folder / "e-16-bit.png")
    image.convert("P").save(folder / "f-palette.gif", save_all=True, append_images=[image.convert("P")])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "deeper" / "g-rotated.JPG", exif=exif)
    (folder / "deeper" / "h-torn.jpg").write_bytes((folder / "d-cmyk.jpg").read_bytes()[:300])
    (folder / "i-empty.png").touch()
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_caption_survives_every_image(cli, llava, odd_images, tmp_path):
    out = tmp_path / "said.jsonl"
    said = cli("caption", odd_images, "--model", llava, "--out", out, "--batch-size", 4, "--max-tokens", 4)
    assert said.code == 0
    rows = read_captions(out)
    lost = {id: row["reason"] for id, row in rows.items() if row["status"] == "missing_image"}
    assert set(lost) == {"c-strip.png", "deeper/h-torn.jpg", "i-empty.png"}
    assert all(str(odd_images / id) in reason for id, reason in lost.items())
    assert list(rows) == sorted(rows)
    assert len(rows) == 9
    assert "3 images could not be captioned" in said.err
    for reason in lost.values():
        assert reason in said.err

    size = out.stat().st_size
    assert "9 were" not in cli("caption", odd_images, "--model", llava, "--out", out, "--max-tokens", 4).err
    assert out.stat().st_size == size  # the bad ones were tried again, and are still bad
    shutil.copy(odd_images / "a.png", odd_images / "i-empty.png")
    cli("caption", odd_images, "--model", llava, "--out", out, "--max-tokens", 4)
    assert read_captions(out)["i-empty.png"]["status"] == "ok"


def test_training_leaves_bad_images_out(cli, settings, photo_dataset, tmp_path):
    for split, what in (("train", b"not a jpeg"), ("val", b"")):
        open_dataset(photo_dataset, split)[1].image.write_bytes(what)
    done = cli("train", "rsrs-scenes", *settings, "stages.warmup.images_per_step=22", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert str(open_dataset(photo_dataset, "train")[1].image) in done.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["systems"]["rsrs"]["unknown"] == {"missing_image": 1}
    assert summary["systems"]["rsrs"]["scored"]["tts"] == 5


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_while_captioning(cli, llava, photo_dataset, tmp_path, monkeypatch):
    out = tmp_path / "said.jsonl"
    write, count = os.write, [0]

    def some(handle: int, data: bytes) -> int:
        count[0] += 1
        return write(handle, data) if count[0] <= 3 else full()

    with monkeypatch.context() as patch:
        patch.setattr("capwright.data.append_log.os.write", some)
        said = cli("caption", photo_dataset, "--model", llava, "--out", out, "--max-tokens", 4, "--n", 6)
    assert said.code == 1
    assert f"{out}: cannot be written: the disk" in said.err
    assert len(read_captions(out)) == 3
    assert cli("caption", photo_dataset, "--model", llava, "--out", out, "--max-tokens", 4, "--n", 6).code == 0
    assert len(read_captions(out)) == 6


def test_full_disk_while_training(cli, settings, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("capwright.runs.checkpoint.torch.save", full)
        said = cli("train", "rsrs-scenes", *settings, "--out", run)
    assert said.code == 1
    assert "disk" in said.err
    assert str(run) in said.err
    with monkeypatch.context() as patch:
        patch.setattr("capwright.data.files.os.fsync", full)  # everything written all or nothing, such as summary.json
        said = cli("train", "--resume", run)
    assert said.code == 1
    assert "disk" in said.err
    done = cli("train", "--resume", run)
    assert done.code == 0, done.err


def test_interrupted_outside_of_training(cli, llava, photo_dataset, tmp_path, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("capwright.models.load_policy", stop)
    said = cli("caption", photo_dataset, "--model", llava, "--out", tmp_path / "said.jsonl")
    assert said.code == 130
    assert "again to go on" in said.err


def test_out_of_memory(cli, llava, photo_dataset, tmp_path, monkeypatch):
    def burst(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("capwright.models.load_policy", burst)
    said = cli("caption", photo_dataset, "--model", llava, "--out", tmp_path / "said.jsonl")
    assert said.code == 1
    assert "smaller batch" in said.err
