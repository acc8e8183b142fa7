"""Datasets in and out: read, check, write. One file a format.

dataset = open_dataset("kindergarten", split="train")
picture = load_image(dataset[0].image, max_pixels=512 * 512)
"""

from __future__ import annotations

from .dataset import Dataset, open_dataset
from .images import load_image
from .vocabulary import read_vocabulary, write_vocabulary
from .writing import write_dataset

__all__ = [
    "Dataset",
    "load_image",
    "open_dataset",
    "read_vocabulary",
    "write_dataset",
    "write_vocabulary",
]
