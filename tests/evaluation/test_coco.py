"""COCOEvalCap: scripts that knew the original find the same keys and the same numbers."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict

import pytest

from capwright.evaluation.coco import COCO, COCOEvalCap
from capwright.types import DataError
from places import CAPTIONS

REFERENCES, RESULTS = CAPTIONS / "fakecap1000_references.json.gz", CAPTIONS / "fakecap1000_results.json.gz"


def load(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


class PyCocoTools:
    """What pycocotools.coco.COCO offers a caption evaluation."""

    def __init__(self, annotations):
        self.imgToAnns = defaultdict(list)
        for note in annotations:
            self.imgToAnns[note["image_id"]].append(note)

    def getImgIds(self):
        return list(self.imgToAnns)


@pytest.fixture(scope="module")
def evaluated():
    coco = COCO(REFERENCES)
    evaluation = COCOEvalCap(coco, coco.loadRes(RESULTS))
    evaluation.params["image_id"] = evaluation.cocoRes.getImgIds()
    evaluation.params["replicates"] = 100
    evaluation.evaluate()
    return evaluation


def test_keys_and_numbers_of_the_original(evaluated):
    expected = load(CAPTIONS / "fakecap1000_expected.json.gz")
    for key in ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr"):
        assert evaluated.eval[key] == pytest.approx(expected["scores"][key], abs=5e-4)
        low, high = evaluated.intervals[key]
        assert low < evaluated.eval[key] < high
    assert evaluated.signatures["CIDEr"].startswith("ciderD|")
    by_id = dict(zip(expected["image_ids"], expected["per_caption"]["CIDEr"]))
    near = [abs(evaluated.imgToEval[id]["CIDEr"] - value) < 5e-3 for id, value in by_id.items()]
    assert sum(near) >= 990
    assert [row["image_id"] for row in evaluated.evalImgs] == evaluated.params["image_id"]


def test_objects_of_pycocotools_serve_as_well(capsys):
    truth = PyCocoTools(load(REFERENCES)["annotations"])
    result = PyCocoTools(load(RESULTS))
    evaluation = COCOEvalCap(truth, result)
    evaluation.params |= {"image_id": result.getImgIds()[:50], "scorers": ["rougeL", "ciderD"], "replicates": 0}
    evaluation.evaluate()
    assert set(evaluation.eval) == {"ROUGE_L", "CIDEr"}
    assert len(evaluation.imgToEval) == 50
    assert f"CIDEr: {evaluation.eval['CIDEr']:.3f}" in capsys.readouterr().out


def test_spice_has_the_shape_that_scripts_read():
    from capwright.evaluation import coco

    assert coco._by_key({"spice": {"spice": 0.25}, "rougeL": {"rougeL": 0.5}}) == {
        "ROUGE_L": 0.5,
        "SPICE": {"All": {"f": 0.25}},
    }


def test_what_is_not_installed_is_left_out_and_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CAPWRIGHT_JARS", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    coco = PyCocoTools([{"image_id": 1, "caption": "a drum"}, {"image_id": 2, "caption": "a bike"}])
    evaluation = COCOEvalCap(coco, PyCocoTools([{"image_id": 1, "caption": "a drum"}, {"image_id": 2, "caption": "x"}]))
    evaluation.evaluate()
    assert "SPICE" not in evaluation.eval
    assert "spice: not installed" in capsys.readouterr().err


def test_bad_results_are_refused(tmp_path):
    coco = COCO(REFERENCES)
    with pytest.raises(DataError, match="without annotations, such as 1"):
        coco.loadRes([{"image_id": 1, "caption": "a drum"}])
    with pytest.raises(DataError, match='item|annotation 0.*"image_id"'):
        coco.loadRes([{"caption": "a drum"}])
    twice = load(RESULTS)[:1] * 2
    evaluation = COCOEvalCap(coco, coco.loadRes(twice))
    evaluation.params["image_id"] = [twice[0]["image_id"]]
    with pytest.raises(DataError, match="has 2 results"):
        evaluation.evaluate()
    with pytest.raises(DataError, match='"annotations"'):
        COCO(RESULTS)


def test_images_of_results_come_in_the_order_of_the_annotations():
    coco = COCO()
    coco._add([{"image_id": id, "caption": "a cat"} for id in (3, 1, 2)], "truth")
    results = coco.loadRes([{"image_id": id, "caption": "a cat"} for id in (1, 2, 3)])
    assert results.getImgIds() == [3, 1, 2]


@pytest.mark.parametrize("caption", [{}, {"caption": None}, {"caption": 7}])
def test_a_result_or_annotation_without_text_is_named(caption):
    for truth, said in (({"caption": "a cat"}, caption), (caption, {"caption": "a cat"})):
        coco = PyCocoTools([{"image_id": 4, **truth}])
        with pytest.raises(DataError, match="image 4"):
            COCOEvalCap(coco, PyCocoTools([{"image_id": 4, **said}])).evaluate()


def test_annotations_that_are_none(tmp_path):
    for document in ({"images": [{}], "annotations": []}, {"annotations": [{"image_id": [1]}]}):
        (tmp_path / "x.json").write_text(json.dumps(document), encoding="utf-8")
        with pytest.raises(DataError, match=r"x\.json: (image|annotation) 0 must be"):
            COCO(tmp_path / "x.json")


def test_a_result_that_is_no_caption_is_unknown():
    truth = PyCocoTools([{"image_id": id, "caption": "a cat"} for id in (1, 2)])
    said = [{"image_id": 1, "caption": "a cat"}, {"image_id": 2, "caption": "I cannot", "status": "refusal"}]
    evaluation = COCOEvalCap(truth, PyCocoTools(said))
    evaluation.params["scorers"] = ["rougeL"]
    evaluation.evaluate()
    assert evaluation.eval["ROUGE_L"] == 1
    assert evaluation.imgToEval[2]["ROUGE_L"] is None
