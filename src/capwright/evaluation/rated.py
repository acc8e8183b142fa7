"""Scores of captions beside ratings of the same captions: how well each score agrees with people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capwright.data.ratings import Rating
from capwright.evaluation.human_agreement import Agreement, agreement
from capwright.types import DataError

#: Rank correlations and Pearson's; see `agreement`.
COEFFICIENTS = ("tau-b", "tau-c", "spearman", "pearson")


@dataclass(frozen=True)
class Rated:
    """What `agree` found.

    Attributes:
        scores: name of a score -> coefficient -> Agreement.
        captions: rated captions that have scores.
        lost: rated captions that have none.
    """

    scores: Mapping[str, Mapping[str, Agreement]]
    captions: int
    lost: int


def agree(
    scored: Mapping[str, Any],
    ratings: Sequence[Rating],
    names: Sequence[str] = (),
    *,
    coefficients: Sequence[str] = COEFFICIENTS,
    aggregation: str = "mean",
    replicates: int = 1000,
    seed: int = 0,
) -> Rated:
    """Agreement of scores with ratings; captions of one image are resampled together.

    Args:
        scored: what `capwright score --json` writes, or `Scoring.to_json()`.
        ratings: each names its system when `scored` has several.
        names: of scores ("ciderD", "tts.micro"); all by default.
        coefficients, aggregation, replicates, seed: see `agreement`.

    Raises:
        DataError: not such a document, a system or score that is not in it, or no rated caption is.
    """
    systems = _read(scored)
    people: dict[tuple[str, str], list[float]] = {}
    for rating in ratings:
        people.setdefault((_system(rating.system, systems), rating.id), []).append(rating.rating)
    captions = {(name, id): scores for name, rows in systems.items() for id, scores in rows if (name, id) in people}
    if not captions:
        raise DataError("no rated caption has scores; the ids of ratings and of scores must be the same")
    there = list(dict.fromkeys(name for scores in captions.values() for name in scores))
    for name in names:
        if name not in there:
            raise DataError(f"there is no score {name!r}; there are {', '.join(there)}")
    found = {
        name: {
            coefficient: agreement(
                [scores.get(name) for scores in captions.values()],
                [people[key] for key in captions],
                [id for _, id in captions],
                aggregation,
                coefficient=coefficient,
                replicates=replicates,
                seed=seed,
            )
            for coefficient in coefficients
        }
        for name in names or there
    }
    return Rated(found, len(captions), len(people) - len(captions))


def _read(scored: Mapping[str, Any]) -> dict[str, list[tuple[str, Mapping[str, float | None]]]]:
    """For each system (id, scores) of its images."""
    try:
        return {
            system["name"]: [(row["id"], row["scores"]) for row in system["per_image"]] for system in scored["systems"]
        }
    except (KeyError, TypeError) as error:
        raise DataError(f"the scores are not what capwright score --json writes ({error})") from error


def _system(name: str, systems: Mapping[str, Any]) -> str:
    if name in systems:
        return name
    if not name and len(systems) == 1:
        return next(iter(systems))
    whose = f"of the system {name!r}" if name else "that do not say whose caption it is"
    raise DataError(f"there are ratings {whose}; their system must be one of {', '.join(systems)}")
