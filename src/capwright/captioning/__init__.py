"""Captioning many images: what writes, where the images come from, and the file their captions go to."""

from capwright.captioning.captioners import Captioner, PolicyCaptioner, load_captioner

__all__ = ["Captioner", "PolicyCaptioner", "load_captioner"]
