"""Datasets in and out: read, check, write. One file a format.

dataset = open_dataset("kindergarten", split="train")
image = load_image(dataset[0].image, max_pixels=512 * 512)
"""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
