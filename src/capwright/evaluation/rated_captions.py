"""Files of scores held against files of ratings: which number belongs to which caption that people rated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capwright.data.ratings import Rating
from capwright.evaluation.human_agreement import CORRELATIONS, Agreement, agreement
from capwright.evaluation.scoring import read_scoring
from capwright.types import DataError


@dataclass(frozen=True)
class Rated:
    """What `agree` found.

    Attributes:
        scores: name of a score -> coefficient -> Agreement.
        captions: rated captions that have scores.
        lost: rated captions that have none.
        together: rated images with several captions of a system, whose ratings do not say which caption they are of:
            their ratings are compared with the score of all of them.
    """

    scores: Mapping[str, Mapping[str, Agreement]]
    captions: int
    lost: int
    together: int = 0


def agree(
    scored: Mapping[str, Any],
    ratings: Sequence[Rating],
    names: Sequence[str] = (),
    *,
    coefficients: Sequence[str] = CORRELATIONS,
    aggregation: str = "mean",
    **settings: Any,
) -> Rated:
    """Agreement of scores with ratings; captions of one image are resampled together.

    Args:
        scored: what `capwright score --json` writes, or `Scoring.to_json()`.
        ratings: each names its system when `scored` has several, or its caption, whose text is looked for among those
            of the image.
        names: of scores ("ciderD", "tts.micro"); all by default.
        coefficients, aggregation, settings: see `agreement`.

    Raises:
        DataError: not such a document, a system or score that is not in it, no rated caption is, or a caption that was
            scored together with others of its image.
    """
    rows = _read_scores(scored)
    systems = list(dict.fromkeys(name for name, _ in rows))
    people: dict[tuple[str, str], list[float]] = {}
    lost: set[tuple[str, str, str]] = set()
    unsaid: set[tuple[str, str]] = set()
    for rating in ratings:
        place = _place_of(rating, systems, rows)
        if place not in rows:
            lost.add((rating.system, rating.id, rating.caption))
            continue
        people.setdefault(place, []).append(rating.rating)
        if not rating.caption:
            unsaid.add(place)
    captions = {place: rows[place][0] for place in rows if place in people}
    if not captions:
        raise DataError("no rated caption has scores; the ids (and texts) of ratings and of scores must be the same")
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
                **settings,
            )
            for coefficient in coefficients
        }
        for name in names or there
    }
    together = sum(len(rows[place][1]) > 1 for place in captions if place in unsaid)
    return Rated(found, len(captions), len(lost), together)


#: (system, id of an image) -> its scores, and the captions that they are of, but for case and spaces.
ScoredImages = dict[tuple[str, str], tuple[Mapping[str, float | None], list[str]]]


def _read_scores(scored: Mapping[str, Any]) -> ScoredImages:
    try:
        systems = read_scoring(scored)["systems"]
        return {
            (name, row["id"]): (row["scores"], list(map(_plain, row.get("captions") or [row.get("caption")])))
            for name, one in systems.items()
            for row in one["per_image"]
        }
    except (DataError, KeyError, TypeError) as error:
        raise DataError(f"the scores are not what capwright score --json writes ({error})") from error


def _plain(text: Any) -> str:
    return " ".join(str(text).casefold().split())


def _place_of(rating: Rating, systems: Sequence[str], rows: ScoredImages) -> tuple[str, str]:
    """System and image of a rating; where only its caption is said, the system that said it, "" for none."""
    if not rating.caption:
        return _system_of(rating.system, systems), rating.id
    names = [_system_of(rating.system, systems)] if rating.system else systems
    said = {name: rows[name, rating.id][1] for name in names if (name, rating.id) in rows}
    found = [name for name, texts in said.items() if _plain(rating.caption) in texts]
    alone = [name for name in found if len(said[name]) == 1]
    if found and not alone:
        raise DataError(
            f'"{rating.id}" has {len(said[found[0]])} captions and one score for all of them, so what people said of '
            "one cannot be compared; score them as several files with one caption an image each"
        )
    return (alone[0] if alone else ""), rating.id if alone else ""


def _system_of(name: str, systems: Sequence[str]) -> str:
    if name in systems:
        return name
    if not name and len(systems) == 1:
        return systems[0]
    whose = f"of the system {name!r}" if name else "that do not say whose caption it is"
    raise DataError(f"there are ratings {whose}; their system must be one of {', '.join(systems)}")
