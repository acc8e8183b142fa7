"""The scenes of a recipe or benchmark, drawn: a dataset folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from capwright.recipes.schema import Scenes


def scenes_folder(scenes: Scenes, parent: Path) -> Path:
    """Where they belong: another folder for every other world."""
    world = "".join(f"-{key}-{value}" for key, value in scenes.world().items())
    return parent / f"scenes-{scenes.n}-{scenes.seed}-{scenes.size}{world}"


def draw_scenes(scenes: Scenes, folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write them into a new folder; `progress` is called with (done, total) scenes."""
    from capwright.scenes import WorldOptions, build

    options = WorldOptions(**scenes.world())
    build(scenes.n, scenes.seed, folder, size=scenes.size, progress=progress, options=options)
