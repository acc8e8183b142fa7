"""Inputs that people really have, and the right numbers of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from capwright.data import check_dataset, read_references
from capwright.data.model_text import never_answers, residue, without_residue
from capwright.data.ratings import Rating, read_ratings, with_texts
from capwright.evaluation import score, score_systems
from capwright.evaluation.rated_captions import agree
from capwright.types import NO_IMAGE, DataError, Sample
from places import ROOT

CASES = Path(__file__).parents[1] / "data" / "cases"
#: CIDEr-D of the captions of `special-tokens-in-captions` when they are as they should be.
CLEAN = 2.1912


def ciderd(folder, name="pred.json", references="refs.json", **how):
    found = score(CASES / folder / name, CASES / folder / references, ["ciderD", "bleu"], **how)
    return found.estimate("ciderD").value, found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("answer", "tags"), ("echo", "turns of a chat"), ("eos", "special tokens"), ("eos2", "special tokens"),
        ("md", "a label"), ("think", "thoughts"),
    ],
)  # fmt: skip
def test_residue_is_found_and_stripped_where_that_is_wanted(name, kind):
    folder = "special-tokens-in-captions"
    as_it_is, found = ciderd(folder, f"{name}.json")
    assert as_it_is < CLEAN - 0.1
    (warning,) = [text for text in found.warnings if "is the model's and no caption" in text]
    assert f'3 of 3 captions hold what is the model\'s and no caption: "1", "2", "3" ({kind}: ' in warning
    stripped, found = ciderd(folder, f"{name}.json", strip=True)
    assert stripped == pytest.approx(CLEAN, abs=5e-5)
    assert "3 captions are measured without" in " ".join(found.warnings)
    plain, found = ciderd(folder, "plain.json", strip=True)
    assert plain == pytest.approx(CLEAN, abs=5e-5)
    assert not [text for text in found.warnings if "measured without" in text]


def test_a_thought_that_does_not_end_is_no_caption():
    for strip in (False, True):
        value, found = ciderd("special-tokens-in-captions", "openthink.json", strip=strip)
        assert value is None
        assert found.unknown == {"truncated": 3}


def test_captions_with_angle_brackets_of_their_own_are_left_alone():
    for text in ("a sign that says <stop>", "5 < 6 and 7 > 6", "a user: manual on a desk", "[a dog]", "captions: two"):
        assert residue(text) == ""
        assert without_residue(text) == text
        assert not never_answers(text)


def test_rejected_annotations_are_left_out_and_counted():
    folder = "vizwiz-rejected"
    with pytest.warns(UserWarning, match=r"refs\.json: \d+ annotations are marked as rejected or precanned"):
        value, _ = ciderd(folder)
    clean, found = ciderd(folder, references="refs_clean.json")
    assert value == pytest.approx(clean) == pytest.approx(2.1912, abs=5e-5)
    assert found.estimate("bleu", "bleu4").value == pytest.approx(0.4520, abs=5e-5)


def test_a_script_without_spaces_needs_another_tokenizer():
    value, found = ciderd("chinese-with-ptb")
    assert value == 0
    assert sum("--tokenizer words" in text for text in found.warnings) == 2  # captions, and references
    value, found = ciderd("chinese-with-ptb", tokenizer="words")
    assert value == pytest.approx(2.9399, abs=5e-5)
    assert found.estimate("bleu", "bleu4").value == pytest.approx(0.7242, abs=5e-5)
    assert not [text for text in found.warnings if "tokenizer" in text]


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("เด็กเล่นของเล่น", True),
        ("ひらがな", True),
        ("ក្មេងលេង", True),
        ("한국어 문장 이다", False),
        ("ein Ball", False),
        ("5 号 a", False),
    ],
)  # fmt: skip
def test_scripts(text, warned):
    rows = {f"{n}": text for n in range(3)}
    found = score(rows, {id: [text] for id in rows}, ["bleu"])
    assert any("--tokenizer words" in one for one in found.warnings) == warned


@pytest.mark.parametrize(
    "name", ["llava_answers.jsonl", "lmms_eval_samples.jsonl", "ms_swift_infer.jsonl", "vlmevalkit.tsv", "pred.json"]
)
def test_predictions_of_other_tools_are_read_as_they_are(name):
    value, found = ciderd("predictions-of-other-tools", name)
    assert value == pytest.approx(CLEAN, abs=5e-5)
    assert found.estimate("bleu", "bleu4").value == pytest.approx(0.4520, abs=5e-5)
    assert any("matched by the file name of the image" in text for text in found.warnings) == (name[:2] == "ms")


GERMAN = {"1": "Ein Kind mit zwei Steckspielen.", "2": "Kinder und Holzeisenbahnen", "3": "Ein Steckspiel."}


def german(folder, vocabulary):
    """A dataset of three samples with these references."""
    (folder / "vocabulary.yaml").write_text(vocabulary)
    rows = [{"id": id, "image": "x.png", "terms": ["Steckspiel"], "references": [text]} for id, text in GERMAN.items()]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_names_in_forms_of_another_language_are_warned_about(tmp_path):
    dataset = german(tmp_path, "Steckspiel:\nHolzeisenbahn: {category: Bahn}\n")
    what = 'seem to have a name of the vocabulary in another form, such as "Steckspielen" for "Steckspiel"'
    found = score(GERMAN, dataset, ["tts"])
    assert any(f"2 of 3 captions {what}" in text for text in found.warnings)
    assert not [text for text in score(GERMAN, dataset, ["rougeL"]).warnings if "another form" in text]
    assert any(f"2 of 3 references {what}" in str(problem) for problem in check_dataset(dataset).problems)
    dataset = german(tmp_path, "Steckspiel: {plurals: [Steckspielen]}\nHolzeisenbahn: {aliases: [Holzeisenbahnen]}\n")
    assert not [text for text in score(GERMAN, dataset, ["tts"]).warnings if "another form" in text]
    assert not [problem for problem in check_dataset(dataset).problems if "another form" in problem.message]


def test_predictions_without_ids_say_what_to_do():
    with pytest.raises(DataError, match=r"generated\.jsonl:1: has no id.*predictions of LLaMA-Factory.*ids of that"):
        ciderd("predictions-of-other-tools", "llamafactory_generated.jsonl")


def test_the_command_of_the_page_that_adds_ids(tmp_path):
    page = (ROOT / "docs" / "data-formats.md").read_text(encoding="utf-8")
    command = (
        page[page.index("  python -c 'import json, sys;") :].partition("```")[0].replace("python", sys.executable, 1)
    )
    shutil.copy(
        CASES / "predictions-of-other-tools" / "llamafactory_generated.jsonl", tmp_path / "generated_predictions.jsonl"
    )
    (tmp_path / "dataset.json").write_text(json.dumps([{"images": [f"{n}.jpg"]} for n in (1, 2, 3)]))
    subprocess.run(["sh", "-c", command.strip()], cwd=tmp_path, check=True)
    found = score(tmp_path / "said.jsonl", CASES / "predictions-of-other-tools" / "refs.json", ["ciderD"])
    assert found.estimate("ciderD").value == pytest.approx(CLEAN, abs=5e-5)


def test_files_of_other_tools_hold_references_too():
    folder = CASES / "predictions-of-other-tools"
    said = {1: "a man", 2: "a dog", 3: "a table"}
    assert [s.references[0] for s in read_references(folder / "sharegpt4v_train.json")] == [
        "a man rides a red bicycle down the street",
        "a brown dog runs on green grass",
        "two women eat lunch at a table",
    ]
    assert score(said, folder / "lmms_eval_samples.jsonl", ["rougeL"]).scores["rougeL"].known.all()
    assert score(said, folder / "ms_swift_infer.jsonl", ["rougeL"], missing="skip").ids == ("1.jpg", "2.jpg", "3.jpg")


@pytest.mark.parametrize("name", ["results_20130124.token", "results.csv"])
def test_both_files_of_flickr30k(name):
    value, found = ciderd("flickr30k-token", references=name)
    assert value == pytest.approx(CLEAN, abs=5e-5)
    assert [len(sample.references) for sample in read_references(CASES / "flickr30k-token" / name)] == [3, 3, 3]
    assert found.ids == ("1001.jpg", "1002.jpg", "1003.jpg")


def test_a_line_of_a_token_file_that_is_none(tmp_path):
    (tmp_path / "x.token").write_text("1.jpg#0\ta dog\n1.jpg a dog\n")
    with pytest.raises(DataError, match=r"x\.token:2: must be an image, #, a number"):
        read_references(tmp_path / "x.token")
    (tmp_path / "x.token").write_bytes(b"1.jpg#0\ta dog\n1.jpg#1\ta d\xffg\n")
    with pytest.raises(DataError, match=r"x\.token:2: byte 0xff is not UTF-8"):
        read_references(tmp_path / "x.token")


def rated(tmp_path, systems, ratings, references="refs.json"):
    """Agreement of rougeL with ratings; captions of systems by image."""
    folder = CASES / "expert-annotations"
    return agree(score_systems(systems, folder / references, ["rougeL"]).to_json(), ratings, replicates=0)


def test_ratings_belong_to_captions_not_to_images(tmp_path):
    """Three experts rated two captions of each image, one of which is of another image: 4 and 1 of 4."""
    folder = CASES / "expert-annotations"
    said = json.loads((folder / "pred.json").read_text())
    systems = {f"caption {n}": {image: texts[n] for image, texts in said.items()} for n in (0, 1)}
    texts = {"1001.jpg#2": said["1001.jpg"][0], "1002.jpg#2": said["1002.jpg"][0], "1003.jpg#2": said["1003.jpg"][0]}
    samples = [Sample(image, NO_IMAGE, ("", "", texts[f"{image}#2"])) for image in said]
    by_number = read_ratings(folder / "ExpertAnnotations.txt")
    assert len(by_number) == 18
    assert by_number[4] == Rating("1001.jpg", 1, "", "expert 2", "1002.jpg#2")
    ratings = with_texts(by_number, samples)
    found = rated(tmp_path, systems, ratings)
    assert (found.captions, found.lost, found.together) == (6, 0, 0)
    assert found.scores["rougeL"]["tau-b"].value > 0.5
    with pytest.raises(DataError, match=r'"1001.jpg" has 2 captions and one score.*several files'):
        rated(tmp_path, {"": said}, ratings)
    images = [Rating(one.id, one.rating) for one in ratings]
    assert rated(tmp_path, {"": said}, images).together == 3
    with pytest.raises(DataError, match='there is no caption "1001.jpg#2"'):
        with_texts(by_number, samples[1:])
    other = [Rating("1001.jpg", 3, "", "", "A caption that nobody wrote"), *ratings]
    assert rated(tmp_path, systems, other).lost == 1
