"""Captioning many images: where they come from, and the file their captions go to."""
