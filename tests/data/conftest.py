from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw


def paint(path: Path, seed: int, size: tuple[int, int] = (64, 48)) -> Path:
    """An image unlike that of any other seed: random rectangles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(random.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = random.integers(0, size[0]), random.integers(0, size[1])
        w, h = random.integers(8, size[0] // 2), random.integers(8, size[1] // 2)
        draw.rectangle((int(x), int(y), int(x + w), int(y + h)), fill=tuple(random.integers(0, 256, 3).tolist()))
    image.save(path)
    return path


@pytest.fixture
def painter() -> Callable[..., Path]:
    return paint


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """folder(rows, vocabulary=text) -> a hand-written jsonl dataset with an image for each row that names one."""

    def make(rows: list[Any], vocabulary: str | None = "geoboard: {category: board, aliases: [geo board]}\n") -> Path:
        root = tmp_path / "handmade"
        root.mkdir(exist_ok=True)
        for seed, row in enumerate(rows):
            if isinstance(row, dict) and isinstance(row.get("image"), str) and row["image"].startswith("images/"):
                paint(root / row["image"], seed)
        text = "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
        (root / "samples.jsonl").write_text(text, encoding="utf-8")
        if vocabulary is not None:
            (root / "vocabulary.yaml").write_text(vocabulary, encoding="utf-8")
        return root

    return make
