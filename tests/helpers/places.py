"""Where tests find what they need."""

from __future__ import annotations

from pathlib import Path

HELPERS = Path(__file__).resolve().parent
TESTS = HELPERS.parent
ROOT = TESTS.parent
#: Three sets of COCO captions with the scores that the reference implementation gives them, and others.
CAPTIONS = TESTS / "captions"
#: Real photos with captions and objects.
PHOTOS = TESTS / "photos"
#: The package.
SOURCE = ROOT / "src" / "capwright"
