"""Datasets in and out: read, check, write. One file a format.

dataset = open_dataset("kindergarten", split="train")
picture = load_image(dataset[0].image, max_pixels=512 * 512)
"""

from __future__ import annotations

from capwright.data.captions import CaptionWriter, append_captions, read_captions
from capwright.data.check import Check, Problem, check_dataset
from capwright.data.coco import read_coco
from capwright.data.dataset import Dataset, open_dataset
from capwright.data.images import load_image
from capwright.data.vocabulary import read_vocabulary, write_vocabulary
from capwright.data.writing import write_dataset

__all__ = [
    "CaptionWriter",
    "Check",
    "Dataset",
    "Problem",
    "append_captions",
    "check_dataset",
    "load_image",
    "open_dataset",
    "read_captions",
    "read_coco",
    "read_vocabulary",
    "write_dataset",
    "write_vocabulary",
]
