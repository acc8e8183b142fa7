"""Datasets in and out: read, check, write. One file a format.

dataset = open_dataset("kindergarten", split="train")
image = load_image(dataset[0].image, max_pixels=512 * 512)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capwright.data.alignment import Finding, check_alignment
    from capwright.data.captions import CaptionWriter, append_captions, read_captions
    from capwright.data.check import Check, Problem, check_dataset
    from capwright.data.dataset import Dataset, open_dataset
    from capwright.data.formats.coco import read_coco
    from capwright.data.id_matching import match_ids
    from capwright.data.images import load_image
    from capwright.data.predictions import read_predictions
    from capwright.data.references import read_references
    from capwright.data.vocabulary import read_vocabulary, write_vocabulary
    from capwright.data.writing import write_dataset

#: Loaded when asked for: reading captions needs no images.
_HOME = {
    "CaptionWriter": "captions",
    "Check": "check",
    "Dataset": "dataset",
    "Finding": "alignment",
    "Problem": "check",
    "append_captions": "captions",
    "check_alignment": "alignment",
    "check_dataset": "check",
    "load_image": "images",
    "match_ids": "id_matching",
    "open_dataset": "dataset",
    "read_captions": "captions",
    "read_coco": "formats.coco",
    "read_predictions": "predictions",
    "read_references": "references",
    "read_vocabulary": "vocabulary",
    "write_dataset": "writing",
    "write_vocabulary": "vocabulary",
}

__all__ = [
    "CaptionWriter",
    "Check",
    "Dataset",
    "Finding",
    "Problem",
    "append_captions",
    "check_alignment",
    "check_dataset",
    "load_image",
    "match_ids",
    "open_dataset",
    "read_captions",
    "read_coco",
    "read_predictions",
    "read_references",
    "read_vocabulary",
    "write_dataset",
    "write_vocabulary",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"capwright.data.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
