"""capwright score agreement: how well the scores of a file agree with people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capwright.cli.display import print_table, say
from capwright.types import DataError

if TYPE_CHECKING:
    from capwright.evaluation.agreement import Agreement

COEFFICIENTS = ("tau-b", "tau-c", "spearman", "pearson")


def print_agreement(
    scored: Path, ratings: Path, only: Sequence[str], aggregation: str, seed: int, replicates: int
) -> None:
    """A table on stdout: scores in rows, coefficients with intervals in columns; then a signature each.

    Captions of one image are resampled together. Ratings name their system when the file of scores has several.
    """
    from capwright.data.ratings import read_ratings
    from capwright.evaluation.agreement import agreement

    systems = _systems(scored)
    people: dict[tuple[str, str], list[float]] = {}
    for rating in read_ratings(ratings):
        people.setdefault((_system(rating.system, systems, ratings), rating.id), []).append(rating.rating)
    captions = {
        (name, row["id"]): row["scores"]
        for name, rows in systems.items()
        for row in rows
        if (name, row["id"]) in people
    }
    if not captions:
        raise DataError(f"{ratings}: rates no caption of {scored}; the ids of both must be the same")
    lost = len(people) - len(captions)
    if lost:
        say(f"{ratings}: {lost:,} rated captions are not in {scored} and do not count")
    names = _names(captions, only, scored)
    rows, signatures = [], []
    for name in names:
        found = [
            agreement(
                [scores.get(name) for scores in captions.values()],
                [people[key] for key in captions],
                [id for _, id in captions],
                aggregation,
                coefficient=coefficient,
                replicates=replicates,
                seed=seed,
            )
            for coefficient in COEFFICIENTS
        ]
        rows.append([name, *(_cell(one) for one in found), f"{found[0].judgements:,}"])
        signatures += [one.signature for one in found]
    print_table(["", *COEFFICIENTS, "ratings" if aggregation == "each" else "captions"], rows)
    for signature in dict.fromkeys(signatures):
        print(signature)


def _systems(path: Path) -> dict[str, list[dict[str, Any]]]:
    from capwright.data.disk import open_packed, parse_json, reading

    with open_packed(path) as file, reading(path):
        data = file.read()
    try:
        document = parse_json(data)
        return {system["name"]: [{"id": row["id"], "scores": row["scores"]} for row in system["per_image"]]
                for system in document["systems"]}  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is not what capwright score --json writes ({error})") from error


def _system(name: str, systems: Mapping[str, Any], path: Path) -> str:
    if name in systems:
        return name
    if not name and len(systems) == 1:
        return next(iter(systems))
    whose = f"the system {name!r}" if name else "captions without saying whose"
    raise DataError(f"{path}: rates {whose}; the column system must name one of {', '.join(systems)}")


def _names(captions: Mapping[Any, Mapping[str, Any]], only: Sequence[str], path: Path) -> list[str]:
    there = list(dict.fromkeys(name for scores in captions.values() for name in scores))
    unknown = [name for name in only if name not in there]
    if unknown:
        raise DataError(f"{path}: has no score {unknown[0]!r}; it has {', '.join(there)}")
    return list(only) or there


def _cell(one: Agreement) -> str:
    if one.value is None:
        return "unknown"
    if one.low is None or one.high is None:
        return f"{one.value:+.3f}"
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
