"""score and score_systems: alignment, several systems, what is not installed, what was trained on; any text at all."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import capwright
from capwright.evaluation import score, score_systems
from capwright.scorers import Scorer, get_scorer
from capwright.scorers.fluency.length import Length
from capwright.types import DataError, NotInstalledError, ScorerError
from places import CAPTIONS

CORE = ("bleu", "rougeL", "ciderD")

REFERENCES = {
    "1": ["a geoboard on a table", "a board with pegs and bands"],
    "2": ["two children ride a balance bike", "children on a small bike"],
    "3": ["a child beats a drum", "a girl plays a red drum"],
}
SAID = {"1": "a geoboard with bands", "2": "children on a bike", "3": "a child with a drum"}


def load(name):
    with gzip.open(CAPTIONS / name, "rt", encoding="utf-8") as file:
        return json.load(file)


def flat(evaluation):
    return {key: e.value for one in evaluation.scores.values() for key, e in one.estimates.items()}


# numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fakecap1000", "val2017_nn"])
def test_files_as_they_are_give_the_published_numbers(name):
    expected = load(f"{name}_expected.json.gz")
    references = CAPTIONS / f"{name.split('_')[0]}_references.json.gz"
    found = score(CAPTIONS / f"{name}_results.json.gz", references, CORE, replicates=0)
    values = flat(found)
    for key, own in {"Bleu_1": "bleu1", "Bleu_4": "bleu4", "ROUGE_L": "rougeL", "CIDEr": "ciderD"}.items():
        assert values[own] == pytest.approx(expected["scores"][key], abs=5e-4)


def test_tokens_of_the_java_original_give_the_published_numbers_exactly():
    expected, tokens = load("fakecap1000_expected.json.gz"), load("fakecap1000_tokens.json.gz")
    found = score(tokens, tokens, CORE, tokenizer="split", replicates=0)
    values = flat(found)
    assert values["ciderD"] == pytest.approx(expected["scores"]["CIDEr"], abs=1e-9)
    assert values["rougeL"] == pytest.approx(expected["scores"]["ROUGE_L"], abs=1e-9)
    by_id = {result.id: result.scores for result in found.per_image}
    for id, value in zip(expected["image_ids"], expected["per_caption"]["CIDEr"]):
        assert by_id[str(id)]["ciderD"]["ciderD"] == pytest.approx(value, abs=1e-9)


def test_two_images_by_hand():
    found = score({"1": "a cat sat", "2": "dogs"}, {"1": ["a cat sat"], "2": ["two dogs", "a dog"]}, ["rougeL"])
    per_image = [result.scores["rougeL"]["rougeL"] for result in found.per_image]
    assert per_image == [1.0, pytest.approx((1 + 1.44) * 1 * 0.5 / (0.5 + 1.44 * 1))]
    assert found.estimate("rougeL").value == pytest.approx(sum(per_image) / 2)


# what belongs together ------------------------------------------------------------------------------------------------


def test_missing_captions_are_an_error_unknown_or_empty_as_asked():
    said = {"1": SAID["1"], "2": SAID["2"]}
    with pytest.raises(DataError, match='"3"'):
        score(said, REFERENCES, CORE)
    skipped = score(said, REFERENCES, CORE, missing="skip")
    assert skipped.unknown == {"missing_caption": 1}
    assert int(skipped.scores["ciderD"].known.sum()) == 2
    assert skipped.per_image[2].scores["ciderD"]["ciderD"] is None
    empty = score(said, REFERENCES, CORE, missing="empty")
    assert empty.unknown == {}
    assert empty.per_image[2].scores["rougeL"]["rougeL"] == 0
    assert empty.estimate("rougeL").value == pytest.approx(skipped.estimate("rougeL").value * 2 / 3)
    with pytest.raises(DataError, match="error, skip, empty"):
        score(said, REFERENCES, CORE, missing="drop")


def test_strangers_are_named():
    with pytest.raises(DataError, match=r"none of the 1 captions"):
        score({"9": "a drum"}, REFERENCES, CORE)
    found = score_systems({"x": {**SAID, "9": "a drum"}}, REFERENCES, CORE)
    assert any('"9"' in finding.message for finding in found.findings["x"])
    assert [finding.message for finding in found.findings["x"]] == list(found.evaluations[0].warnings)
    assert sum("belong to no sample" in text for text in found.to_json()["systems"]["x"]["warnings"]) == 1


def test_several_captions_of_an_image_count_together():
    several = score({**SAID, "1": [SAID["1"], "a toy"]}, REFERENCES, ["rougeL"])
    alone = [score({**SAID, "1": text}, REFERENCES, ["rougeL"]).per_image[0] for text in (SAID["1"], "a toy")]
    first = several.per_image[0]
    assert (first.caption, first.others) == (SAID["1"], ("a toy",))
    mean = sum(one.scores["rougeL"]["rougeL"] for one in alone) / 2
    assert first.scores["rougeL"]["rougeL"] == pytest.approx(mean)
    assert len(several.per_image) == 3


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["a drum\ra bike", "a\u2028drum", "a\x0bdrum\x0c", "a drum\r\nand\n", "\x85", "", " ", "a ||| b", "🥁 drum"]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, min_size=3, max_size=3), st.permutations(["1", "2", "3"]))
def test_any_text_stays_with_its_image(texts, order):
    said = dict(zip("123", texts))
    found = score(said, REFERENCES, CORE, replicates=0)
    turned = score({id: said[id] for id in order}, {id: REFERENCES[id] for id in order}, CORE, replicates=0)
    by_id = {result.id: result for result in turned.per_image}
    for result in found.per_image:
        assert result.caption == said[result.id]
        assert by_id[result.id].scores == result.scores
    for name, one in found.scores.items():
        summed = one.scorer.finalize(one.rows[one.known].sum(0))
        assert one.estimates[one.context.outputs[0]].value == pytest.approx(float(summed[0]), nan_ok=True)
        assert turned.estimate(name).value == pytest.approx(found.estimate(name).value, abs=1e-12)
    # the caption of one image changes the score of no other
    other = score({**said, "1": "a geoboard"}, REFERENCES, CORE, replicates=0)
    assert [r.scores for r in other.per_image[1:]] == [r.scores for r in found.per_image[1:]]


# several systems ------------------------------------------------------------------------------------------------------


def test_systems_are_tested_against_the_first_with_corrected_p_values():
    better = {id: texts[0] for id, texts in REFERENCES.items()}
    found = score_systems({"a": SAID, "b": better, "c": SAID}, REFERENCES, [*CORE, "length"])
    assert {(c.a, c.b) for c in found.comparisons} == {("a", "b"), ("a", "c")}
    rouge = next(c for c in found.comparisons if c.score == "rougeL.rougeL" and c.b == "b")
    assert rouge.difference > 0
    assert rouge.p_holm >= rouge.p
    same = [c for c in found.comparisons if c.b == "c" and c.score.startswith("bleu")]
    assert {c.difference for c in same} == {0.0}
    lengths = [c for c in found.comparisons if c.score.startswith("length")]
    assert lengths
    assert all(c.p_holm is None for c in lengths), "a length claims nothing"
    counted = {c.score for c in found.comparisons if c.p_holm is not None}
    assert counted == {f"{name}.{get_scorer(name).spec.headline}" for name in CORE}, "parts explain, headlines claim"


def test_the_json_has_what_scripts_look_for():
    found = score_systems({"a": SAID}, REFERENCES, [*CORE, "length"], trained_on={"a": ["ciderD"]}).to_json()
    json.dumps(found, allow_nan=False)
    assert (found["interval"], found["replicates"], found["level"]) == ("jackknife", 1000, 0.95)
    (system,) = found["systems"].values()
    keys = {"bleu1", "bleu2", "bleu3", "bleu4", "rougeL", "ciderD", "length.words"}
    assert keys <= set(system["scores"])
    for key in keys:
        block = system["scores"][key]
        assert block["low"] <= block["value"] <= block["high"]
        assert block["signature"].startswith(("bleu|", "rougeL|", "ciderD|", "length|"))
        assert block["signature"].endswith("|ci:jackknife|unit:image")
    assert system["scores"]["ciderD"]["trained_on"] is True
    assert "trained_on" not in system["scores"]["rougeL"]
    assert "idf:refs@3#" in system["scores"]["ciderD"]["signature"]
    assert [row["id"] for row in system["per_image"]] == ["1", "2", "3"]
    assert set(system["per_image"][0]["scores"]) == set(system["scores"])


class Absent(Length):
    def prepare(self, corpus):
        raise NotInstalledError("length: not installed: a ruler")


def test_what_is_not_installed_is_said_and_never_zero():
    absent: Scorer = Absent()
    found = score_systems({"a": SAID}, REFERENCES, ["rougeL", absent])
    assert found.not_installed == {"length": "not installed: a ruler"}
    block = found.to_json()["systems"]["a"]["scores"]["length"]
    assert block["value"] is None
    assert block["note"] == "not installed: a ruler"
    with pytest.raises(ScorerError, match="not installed: a ruler"):
        score(SAID, REFERENCES, [absent])


def test_options_of_scorers():
    frozen = score(SAID, REFERENCES, ["ciderD"], options={"ciderD": {"idf": "coco-val2014"}})
    assert "idf:coco-val2014" in frozen.scores["ciderD"].signature
    alone = score({"1": SAID["1"]}, {"1": REFERENCES["1"]}, ["ciderD"], options={"ciderD": {"idf": "coco-val2014"}})
    value = frozen.per_image[0].scores["ciderD"]["ciderD"]
    assert alone.estimate("ciderD").value == pytest.approx(value), "a frozen table knows no neighbors"
    with pytest.raises((ScorerError, DataError), match="coco-val2014"):
        score({"1": SAID["1"]}, {"1": REFERENCES["1"]}, ["ciderD"])
    with pytest.raises(ScorerError, match="not among the scorers"):
        score(SAID, REFERENCES, ["rougeL"], options={"ciderD": {"idf": "refs"}})
    with pytest.raises(ScorerError, match="named twice"):
        score(SAID, REFERENCES, ["rougeL", "rougeL"])


def test_the_package_offers_it_and_text_metrics_load_no_torch():
    assert capwright.score is score
    code = (
        "import sys, capwright; "
        "capwright.score({'1': 'a drum', '2': 'a bike'}, {'1': ['a drum'], '2': ['a bike', 'bikes']}); "
        "heavy = {'torch', 'transformers', 'sacrebleu', 'jinja2', 'matplotlib', 'PIL.Image'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_ids_of_another_form_are_matched_aloud():
    said = {f"COCO_val2014_{int(id):012d}.jpg": text for id, text in SAID.items()}
    found = score_systems({"a": said}, REFERENCES, ["rougeL"])
    assert found.evaluations[0].unknown == {}
    assert found.findings["a"][0].kind == "renamed"
    assert "COCO_val2014_000000000001.jpg" in found.findings["a"][0].message


def test_references_are_only_needed_by_scorers_that_compare():
    bare = [{"id": "1", "references": []}, {"id": "2", "references": []}]
    found = score({"1": "a drum", "2": "two red drums"}, bare, ["length"])
    assert found.estimate("length").value == 2.5
    with pytest.raises(DataError, match="reference"):
        score({"1": "a drum", "2": "two red drums"}, bare, ["length", "rougeL"])


def test_diversity_of_single_captions_is_unknown_and_said():
    found = score_systems({"a": SAID}, REFERENCES, ["diversity", "rougeL"])
    assert found.evaluations[0].estimate("diversity").value is None
    assert any(finding.kind == "single" for finding in found.findings["a"])
    several = {id: [text, "something else"] for id, text in SAID.items()}
    assert score(several, REFERENCES, ["diversity"]).estimate("diversity").value > 0


class LateAbsent(Length):
    def stats(self, items, context):
        raise NotInstalledError("length: not installed: a ruler")


def test_what_is_missing_only_when_it_is_asked_is_left_out_too():
    found = score_systems({"a": SAID, "b": SAID}, REFERENCES, ["rougeL", LateAbsent()])
    assert found.not_installed == {"length": "not installed: a ruler"}
    assert [set(e.scores) for e in found.evaluations] == [{"rougeL"}, {"rougeL"}]


def test_text_that_is_tokenized_is_expected_with_split():
    said = {id: f"{text} ." for id, text in SAID.items()}
    many = {str(n): "a child 's toy , on a table ." for n in range(30)} | said
    references = {str(n): ["a child's toy on a table"] for n in range(30)} | REFERENCES
    kinds = [
        {f.kind for f in score_systems({"a": many}, references, ["rougeL"], tokenizer=t).findings["a"]}
        for t in ("ptb", "split")
    ]
    assert "tokenized" in kinds[0]
    assert "tokenized" not in kinds[1]


def test_what_to_do_is_checked_before_anything_is_measured():
    with pytest.raises(DataError, match="randomization, bootstrap"):
        score(SAID, REFERENCES, CORE, test="t")
    with pytest.raises(ScorerError, match="name a scorer"):
        score(SAID, REFERENCES, [])
