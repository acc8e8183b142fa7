"""capwright score agreement: how well the scores of a file agree with people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capwright.cli._display import print_table
from capwright.cli._tables import with_interval
from capwright.console import say
from capwright.types import DataError


def print_agreement(
    scored: Path, ratings: Path, only: Sequence[str], aggregation: str, seed: int, replicates: int
) -> None:
    """A table on stdout: scores in rows, coefficients with intervals in columns; then a signature each."""
    from capwright.data.files import open_packed, parse_json, reading
    from capwright.data.ratings import read_ratings
    from capwright.evaluation.rated import COEFFICIENTS, agree

    with open_packed(scored) as file, reading(scored):
        data = file.read()
    try:
        document = parse_json(data)
    except ValueError as error:
        raise DataError(f"{scored}: {error}") from error
    people = read_ratings(ratings)
    try:
        rated = agree(document, people, only, aggregation=aggregation, replicates=replicates, seed=seed)
    except DataError as error:
        raise DataError(f"{scored} and {ratings}: {error}") from error
    if rated.lost:
        say(f"{ratings}: {rated.lost:,} rated captions are not in {scored} and do not count")
    rows = []
    for name, found in rated.scores.items():
        cells = [with_interval(one.value, one.low, one.high, 3, "+") for one in found.values()]
        rows.append([name, *cells, f"{next(iter(found.values())).judgements:,}"])
    print_table(["", *COEFFICIENTS, "ratings" if aggregation == "each" else "captions"], rows)
    for signature in dict.fromkeys(one.signature for found in rated.scores.values() for one in found.values()):
        print(signature)
