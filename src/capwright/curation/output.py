"""A new dataset folder that is there as a whole or not at all, whenever the job that makes it is killed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from capwright.data.files import write_bytes, writing
from capwright.data.writing import write_dataset
from capwright.types import EMPTY, DataError, Sample, Vocabulary


def write_new(
    samples: Iterable[Sample],
    out: str | Path,
    vocabulary: Vocabulary | None = None,
    more: Mapping[str, Callable[[], Any]] = EMPTY,
) -> Path:
    """Write samples as the new dataset `out` and return the folder.

    Everything goes to a hidden neighbor, `.NAME.partial`, which takes its name at the end. What a killed job left there
    is removed, but only after the first sample has come: by then the journal of `samples`, where it has one, has
    refused a second job.

    Args:
        more: further files of the folder, by name: JSON values that are asked for when all samples have come.

    Raises:
        DataError: `out` exists and is not empty, there are no samples, or what `data.write_dataset` raises.
    """
    out = Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: already exists and is not empty; remove it or choose another folder")
    coming = iter(samples)
    first = next(coming, None)
    if first is None:
        raise DataError(f"{out}: there are no samples to write")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_dataset(chain([first], coming), partial, vocabulary)
    for name, value in more.items():
        write_bytes(partial / name, (json.dumps(value(), indent=2, ensure_ascii=False) + "\n").encode())
    with writing(out):
        if out.exists():
            out.rmdir()
        partial.rename(out)
    return out
