"""What orders in captions did to the scores of a run, as its page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from capwright.report.run_folder import Measure, RunFolder, as_measure, number


@dataclass(frozen=True, slots=True)
class Orders:
    """One kind of order and one score. The counts are "0 of 12", or "unknown"."""

    score: str
    attack: str
    change: Measure
    digits: int
    changed: str
    unknown: str
    others: str


def read_orders(run: RunFolder) -> list[Orders]:
    """The rows of the injection test of summary.json, in their order; empty when none was made."""
    found = run.summary.get("injection")
    rows = [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
    return [_read(row) for row in rows]


def _read(row: Mapping[str, object]) -> Orders:
    images, unknown = number(row.get("images")), number(row.get("unknown"))
    every = None if images is None or unknown is None else images + unknown
    clean = number(row.get("clean"))
    return Orders(
        score=str(row.get("score", "")),
        attack=str(row.get("attack", "")),
        change=as_measure(row.get("change")),
        digits=1 if abs(clean or 0) > 10 else 3,
        changed=_share(number(row.get("changed")), images),
        unknown=_share(unknown, every),
        others=_share(number(row.get("others_changed")), number(row.get("others"))),
    )


def _share(part: float | None, whole: float | None) -> str:
    return "unknown" if part is None or whole is None else f"{part:,.0f} of {whole:,.0f}"
