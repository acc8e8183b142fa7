"""COCOEvalCap as scripts know it from the COCO caption tools, on capwright's scorers.

    from capwright.evaluation.coco import COCO, COCOEvalCap      # instead of pycocotools.coco and pycocoevalcap.eval

    coco = COCO("captions_val2014.json")
    evaluation = COCOEvalCap(coco, coco.loadRes("results.json"))
    evaluation.params["image_id"] = evaluation.cocoRes.getImgIds()
    evaluation.evaluate()
    evaluation.eval["CIDEr"], evaluation.intervals["CIDEr"], evaluation.signatures["CIDEr"]

The keys are those of the original ("Bleu_1" ... "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", which is CIDEr-D, "SPICE"), and
so are the numbers. Two faults of it are gone: a line break inside a caption does not move later captions to other
images, and SPICE of an image is that image's. METEOR and SPICE are left out, with a word on stderr, where they are not
installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from capwright.console import say, show
from capwright.data.input_formats import open_source, wrap
from capwright.evaluation.config import MeasureConfig
from capwright.evaluation.evaluate import measure_systems
from capwright.evaluation.results import Evaluation
from capwright.types import NO_IMAGE, DataError, Sample

#: scorer and output -> the key of the original.
KEYS = {("bleu", f"bleu{n}"): f"Bleu_{n}" for n in range(1, 5)} | {
    (scorer, scorer): key
    for scorer, key in {"meteor": "METEOR", "rougeL": "ROUGE_L", "ciderD": "CIDEr", "spice": "SPICE"}.items()
}


class COCO:
    """The part of pycocotools' COCO that caption evaluation needs; an object of pycocotools serves as well.

    Attributes:
        imgToAnns: image id -> its annotations ({"image_id", "caption", ...}).
    """

    def __init__(self, annotation_file: str | Path | None = None) -> None:
        self.imgToAnns: dict[Any, list[dict[str, Any]]] = {}
        if annotation_file is None:
            return
        document = open_source(Path(annotation_file)).document
        if document is None or not isinstance(document.get("annotations"), list):
            raise DataError(f'{annotation_file}: must be COCO annotations: an object with "annotations"')
        for place, image in enumerate(document.get("images") or []):
            if not isinstance(image, dict) or not isinstance(image.get("id"), (int, str)):
                raise DataError(f'{annotation_file}: image {place} must be an object with an "id"')
            self.imgToAnns[image["id"]] = []
        self._add(document["annotations"], str(annotation_file))

    def getImgIds(self) -> list[Any]:
        """Ids of all images."""
        return list(self.imgToAnns)

    def loadRes(self, results: str | Path | list[dict[str, Any]]) -> COCO:
        """Results as an object of their own: a file or a list of {"image_id", "caption"}; images in our order.

        Raises DataError for a result of an image that has no annotations.
        """
        source = wrap(results, "results") if isinstance(results, list) else open_source(Path(results))
        if source.document is not None:
            raise DataError(f'{source.name}: must be a list of {{"image_id", "caption"}}')
        found = COCO()
        found._add((row.value for row in source.rows), source.name)
        strangers = [id for id in found.imgToAnns if id not in self.imgToAnns]
        if strangers:
            raise DataError(
                f"{source.name}: {len(strangers)} results are of images without annotations, such as {strangers[0]!r}"
            )
        found.imgToAnns = {id: found.imgToAnns[id] for id in self.imgToAnns if id in found.imgToAnns}
        return found

    def _add(self, annotations: Iterable[Any], where: str) -> None:
        for place, annotation in enumerate(annotations):
            if not isinstance(annotation, dict) or not isinstance(annotation.get("image_id"), (int, str)):
                raise DataError(f'{where}: annotation {place} must be an object with "image_id" and "caption"')
            self.imgToAnns.setdefault(annotation["image_id"], []).append(annotation)


class COCOEvalCap:
    """Evaluates the captions of results against annotations.

    Args:
        coco, cocoRes: objects of `COCO` above or of pycocotools.

    Attributes:
        params: "image_id": which images to evaluate, all annotated ones at first; "scorers": names of scorers, and
            "seed" and "replicates" of the intervals.
        eval: key -> score.
        evalImgs: one {"image_id", key: score} an image; imgToEval: the same by image id.
        intervals: key -> (low, high), 95 %; signatures: key -> what made the number.
        evaluation: the whole `Evaluation`.
    """

    def __init__(self, coco: Any, cocoRes: Any) -> None:
        self.coco = coco
        self.cocoRes = cocoRes
        self.params: dict[str, Any] = {
            "image_id": list(coco.getImgIds()),
            "scorers": ["bleu", "meteor", "rougeL", "ciderD", "spice"],
            "seed": 0,
            "replicates": 1000,
        }
        self.eval: dict[str, float | None] = {}
        self.evalImgs: list[dict[str, Any]] = []
        self.imgToEval: dict[Any, dict[str, Any]] = {}
        self.intervals: dict[str, tuple[float | None, float | None]] = {}
        self.signatures: dict[str, str] = {}
        self.evaluation: Evaluation | None = None

    def evaluate(self) -> None:
        """Score, fill the attributes, and print a line a score.

        Raises DataError when an image has no result, or more than one.
        """
        ids = list(self.params["image_id"])
        samples = [
            Sample(str(id), NO_IMAGE, tuple(_caption(note, id) for note in self.coco.imgToAnns.get(id, ())))
            for id in ids
        ]
        captions = {str(id): self._result(id) for id in ids}
        config = MeasureConfig(**{key: self.params[key] for key in ("scorers", "seed", "replicates")})
        scoring = measure_systems(samples, {"": captions}, config)
        for name, why in scoring.not_installed.items():
            say(f"{name}: {why}")
        self.evaluation = found = scoring.evaluations[0]
        self.eval, self.intervals, self.signatures = {}, {}, {}
        for (scorer, output), key in KEYS.items():
            if scorer in found.scores:
                estimate = found.estimate(scorer, output)
                self.eval[key], self.intervals[key] = estimate.value, (estimate.low, estimate.high)
                self.signatures[key] = found.scores[scorer].signature
                show(f"{key}: {'unknown' if estimate.value is None else format(estimate.value, '0.3f')}")
        self.evalImgs = [{"image_id": id} | _by_key(one.scores) for id, one in zip(ids, found.per_image)]
        self.imgToEval = dict(zip(ids, self.evalImgs))

    def _result(self, id: Any) -> dict[str, Any]:
        found = self.cocoRes.imgToAnns.get(id, [])
        if len(found) != 1:
            raise DataError(
                f"image {id}: has {len(found)} results, must have one; evaluate fewer images with params['image_id'], "
                "or several captions an image with capwright.score"
            )
        return {"caption": _caption(found[0], id), "status": found[0].get("status")}


def _caption(note: Mapping[str, Any], id: Any) -> str:
    if not isinstance(note.get("caption"), str):
        raise DataError(f'image {id}: an annotation or result has no text as its "caption"; correct it or take it out')
    return str(note["caption"])


def _by_key(scores: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (scorer, output), key in KEYS.items():
        if scorer in scores:
            value = scores[scorer][output]
            found[key] = value if scorer != "spice" else {"All": {"f": value}}
    return found
