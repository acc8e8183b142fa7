"""summary.json: what was measured of every system, how systems differ, and what made the numbers."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capwright.console import counting
from capwright.types import Sample, Vocabulary

if TYPE_CHECKING:
    from capwright.evaluation import Comparison, Evaluation
    from capwright.scorers import Context, Scorer

SUMMARY = "summary.json"
#: Packages whose version can change a number.
PACKAGES = ("capwright", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy", "pillow")


def measure(
    samples: Sequence[Sample],
    systems: Mapping[str, Mapping[str, Mapping[str, Any]]],
    rulers: Sequence[tuple[Scorer, Context]],
    *,
    seed: int = 0,
    replicates: int = 1000,
    method: str = "jackknife",
) -> list[Evaluation]:
    """Evaluate the captions (id -> row) of every system on the same samples with the same rulers."""
    from capwright.evaluation import evaluate

    found = []
    for name, rows in systems.items():
        with counting(f"measuring {name}") as progress:
            found.append(evaluate(samples, rows, rulers, seed, replicates, name=name, method=method, progress=progress))
    return found


def compare_with_first(evaluations: Sequence[Evaluation]) -> list[Comparison]:
    """Paired randomization tests of every system against the first, for the headline of each scorer."""
    first, *others = evaluations
    return [c for other in others for c in _headlines(first, other)]


def compare_in_order(evaluations: Sequence[Evaluation], starts: Mapping[str, str] | None = None) -> list[Comparison]:
    """Paired randomization tests of every stage against the one before, the one it started from, and the first."""
    names = [one.name for one in evaluations]
    pairs = list(pairwise(names)) + [(start, name) for name, start in (starts or {}).items()]
    pairs += [(names[0], name) for name in names[2:]]
    found = dict(zip(names, evaluations))
    return [c for a, b in dict.fromkeys(pairs) for c in _headlines(found[a], found[b])]


def _headlines(a: Evaluation, b: Evaluation) -> list[Comparison]:
    from capwright.evaluation import compare

    return compare(a, b, [f"{name}.{one.scorer.spec.headline}" for name, one in a.scores.items()])


def summarize(
    evaluations: Sequence[Evaluation],
    comparisons: Iterable[Comparison],
    run: Mapping[str, Any],
    seconds: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
    """The content of summary.json: a block for each system by name, then `comparisons`, `signatures`, `run`."""
    blocks = {e.name: e.to_json() | {"seconds": (seconds or {}).get(e.name)} for e in evaluations}
    signatures = {name: one.signature for e in evaluations for name, one in e.scores.items()}
    return blocks | {"comparisons": [c.to_json() for c in comparisons], "signatures": signatures, "run": dict(run)}


def write_json(path: Path, value: Any) -> None:
    """Write all or nothing; DataError names the path."""
    from capwright.data.files import write_bytes, writing

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    # A file name may hold bytes that are no text; written like this it is still JSON.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def versions() -> dict[str, str]:
    """Of Python and of the packages that matter; those that are missing are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def rulers_for(
    samples: Sequence[Sample],
    names: Iterable[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    vocabulary: Vocabulary | None = None,
) -> list[tuple[Scorer, Context]]:
    """Scorers by name with contexts of these samples."""
    from capwright.evaluation import prepare_scorers
    from capwright.scorers import get_scorer

    scorers = [get_scorer(name, **(options or {}).get(name, {})) for name in names]
    return prepare_scorers(samples, scorers, vocabulary)
