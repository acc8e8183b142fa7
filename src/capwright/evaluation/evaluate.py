"""Run scorers over the captions of one system: scores with intervals, evidence for each image, honest counts.

An image counts for a scorer only when every row that the scorer made of it is known. An image may have several captions
(beams, samples of one captioner): their statistics are added up, and the image stays the unit that is resampled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.console import OnProgress
from capwright.data.alignment import some
from capwright.evaluation.measuring import ScorerSums, measure
from capwright.evaluation.results import MISSING, Estimate, Evaluation, ImageResult, Measured
from capwright.evaluation.stats.bootstrap import known, sum_by_cluster
from capwright.evaluation.stats.intervals import METHODS, How, estimate, join, ranges_of
from capwright.scorers import SCORED, Context, Corpus, Item, Scorer, get_scorer
from capwright.types import STATUSES, Caption, DataError, Sample, ScorerError, Vocabulary

CaptionRow = Mapping[str, Any] | Caption | str
#: What a system said of an image: one caption, or several.
CaptionRows = CaptionRow | Sequence[CaptionRow]


def prepare_scorers(
    samples: Sequence[Sample], scorers: Iterable[str | Scorer] = ("tts", "length"), vocabulary: Vocabulary | None = None
) -> list[tuple[Scorer, Context]]:
    """Scorers with contexts made from these samples, to be used for several systems.

    Args:
        samples: what will be measured; a Dataset brings its own vocabulary.
        scorers: names or scorers.
        vocabulary: of the domain; by default that of the dataset, or else the terms of the samples alone.
    """
    if vocabulary is None:
        vocabulary = getattr(samples, "vocabulary", None) or Vocabulary({})
    corpus = Corpus(samples, vocabulary)
    made = [get_scorer(scorer) if isinstance(scorer, str) else scorer for scorer in scorers]
    names = [scorer.spec.name for scorer in made]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ScorerError(f"{twice[0]}: named twice; measure with each scorer once")
    return [(scorer, scorer.prepare(corpus)) for scorer in made]


def evaluate(
    samples: Sequence[Sample],
    captions: Mapping[str, CaptionRows],
    scorers: Iterable[str | Scorer] | Sequence[tuple[Scorer, Context]] = ("tts", "length"),
    seed: int = 0,
    replicates: int = 1000,
    *,
    vocabulary: Vocabulary | None = None,
    name: str = "",
    level: float = 0.95,
    method: str = "jackknife",
    cluster: str | None = None,
    progress: OnProgress | None = None,
) -> Evaluation:
    """Measure the captions of one system.

    Args:
        samples: the split to measure on.
        captions: id -> row of a caption file ({"caption", "status", "finish"}), a Caption, plain text, or a list of
            these. A sample without a row is unknown: it is counted and warned about, and no score includes it. Rows
            with other ids are warned about.
        scorers: names, scorers, or what `prepare_scorers` returned (for several systems: the same contexts).
        seed, replicates: of intervals by the bootstrap and of tests; 0 replicates leave out intervals of any method.
        level: share of intervals that should hold the truth.
        vocabulary: see `prepare_scorers`.
        name: of the system, for comparisons.
        method: of the intervals, "jackknife", "percentile" or "bca" (see `estimating.How`).
        cluster: a key of `Sample.meta`; samples with one value there (frames of a video, photos of a room) are left
            out, drawn and swapped together.
        progress: called with (done, total) captions as they are measured.

    Raises:
        DataError: no samples, two with one id, a caption row that cannot be read, or no row for any sample.
        ScorerError: an unknown scorer, or one that fails.
    """
    if method not in METHODS:
        raise DataError(f"intervals can be made by {', '.join(METHODS)}, not by {method!r}")
    if not isinstance(seed, int) or seed < 0:
        raise DataError(f"the seed must be a whole number, 0 or more, not {seed!r}")
    if not 0 < level < 1:
        raise DataError(f"the level of intervals must be between 0 and 1, such as 0.95, not {level}")
    ids = _read_ids(samples)
    clusters = _clusters(samples, cluster)
    ready = _ready(samples, scorers, vocabulary)
    warnings, absent = _align(ids, captions)
    items, image_of = _items(samples, captions, absent)
    stated = [MISSING] * len(ids)
    for item, image in zip(items, image_of.tolist()):
        if ids[image] not in absent and stated[image] in (MISSING, *SCORED):
            stated[image] = item.status
    tallies, evidence = measure(ready, items, image_of, stated, progress)
    unit = "image" if cluster is None else f"meta.{cluster}"
    measured = _estimate(tallies, ids, How(method, replicates, seed, level), unit, clusters)
    return Evaluation(
        name=name,
        ids=ids,
        scores=measured,
        per_image=_per_image(ids, items, image_of, stated, measured, evidence),
        unknown=dict(sorted(Counter(status for status in stated if status not in SCORED).items())),
        warnings=tuple(warnings),
        seed=seed,
        replicates=replicates,
        level=level,
        method=method,
        clusters=clusters,
        unit=unit,
    )


def _clusters(samples: Sequence[Sample], key: str | None) -> tuple[str, ...] | None:
    """What each sample is drawn together by."""
    if key is None:
        return None
    without = [sample.id for sample in samples if key not in sample.meta]
    if without:
        raise DataError(f"{len(without)} samples have no {key!r} in meta to be drawn together by: {some(without)}")
    return tuple(repr(sample.meta[key]) for sample in samples)


def _read_ids(samples: Sequence[Sample]) -> tuple[str, ...]:
    ids = tuple(sample.id for sample in samples)
    if not ids:
        raise DataError("there are no samples to evaluate on; name another split")
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"the id {twice[0]!r} belongs to several samples; ids must be unique")
    return ids


def _ready(
    samples: Sequence[Sample],
    scorers: Iterable[str | Scorer] | Sequence[tuple[Scorer, Context]],
    vocabulary: Vocabulary | None,
) -> list[tuple[Scorer, Context]]:
    given = list(scorers)
    pairs = [entry for entry in given if isinstance(entry, tuple)]
    if pairs and len(pairs) == len(given):
        return pairs
    return prepare_scorers(samples, [entry for entry in given if not isinstance(entry, tuple)], vocabulary) + pairs


def _align(ids: tuple[str, ...], captions: Mapping[str, CaptionRows]) -> tuple[list[str], set[str]]:
    absent = [name for name in ids if name not in captions]
    extra = sorted(set(captions) - set(ids))
    if len(absent) == len(ids):
        raise DataError(
            f"none of the {len(captions)} caption ids is the id of a sample (captions: {some(extra)}; samples: "
            f"{some(ids)}); is it the caption file of another dataset or split?"
        )
    warnings = []
    if absent:
        warnings.append(f"{len(absent)} of {len(ids)} samples have no caption and are unknown: {some(absent)}")
    if extra:
        warnings.append(f"{len(extra)} captions belong to no sample and were not measured: {some(extra)}")
    return warnings, set(absent)


def _items(
    samples: Sequence[Sample], captions: Mapping[str, CaptionRows], absent: set[str]
) -> tuple[list[Item], NDArray[np.int64]]:
    """All captions in the order of the samples, those of a sample next to each other; and whose each is [items]."""
    items: list[Item] = []
    image_of: list[int] = []
    for image, sample in enumerate(samples):
        said = captions.get(sample.id, ()) if sample.id not in absent else ()
        rows = [said] if isinstance(said, (str, Mapping, Caption)) else list(said)
        found = [item_of(sample, row) for row in rows] or [Item(sample, "", "missing_image")]
        items += found
        image_of += [image] * len(found)
    return items, np.array(image_of)


def item_of(sample: Sample, row: CaptionRow) -> Item:
    """A caption as scorers take it. Raises DataError for a row whose status or caption cannot be read."""
    if isinstance(row, str):
        return Item(sample, row)
    if isinstance(row, Caption):
        return Item(sample, row.text, "ok", row.finish)
    status = row.get("status") or "ok"
    caption = row.get("caption")
    if status not in STATUSES:
        raise DataError(f"caption of {sample.id!r}: status {status!r} is not one of {', '.join(STATUSES)}")
    if not isinstance(caption, str):
        if status in SCORED and not (status == "empty" and caption is None):
            raise DataError(f'caption of {sample.id!r}: "caption" must be a text, not {caption!r}')
        caption = ""
    if status == "ok" and not caption.strip():
        status = "empty"
    return Item(sample, caption, status, row.get("finish") or "stop")


def _estimate(
    tallies: Sequence[ScorerSums], ids: Sequence[str], how: How, unit: str, clusters: tuple[str, ...] | None
) -> dict[str, Measured]:
    """Point estimates and intervals. Scorers that know the same images are estimated together, with the same draws."""
    rows = [tally.rows for tally in tallies]
    estimates: list[dict[str, Estimate]] = [{} for _ in tallies]
    shared: dict[bytes, list[int]] = {}
    for index, tally in enumerate(tallies):
        shared.setdefault(tally.known.tobytes(), []).append(index)
    for members in shared.values():
        is_known = tallies[members[0]].known
        joined = np.concatenate([rows[i][is_known] for i in members], axis=1)
        if clusters is not None:
            joined = sum_by_cluster(joined, [clusters[i] for i in np.flatnonzero(is_known)])
        finalize = join([tallies[i].scorer for i in members], [rows[i].shape[1] for i in members])
        ranges = np.concatenate([ranges_of(tallies[i].scorer, tallies[i].context) for i in members])
        found = estimate(joined, finalize, ranges, how)
        each = iter(zip(found.value.tolist(), found.low.tolist(), found.high.tolist()))
        for i in members:
            for output in tallies[i].context.outputs:
                estimates[i][output] = Estimate(*map(known, next(each)))
    measured: dict[str, Measured] = {}
    for tally, own_rows, own in zip(tallies, rows, estimates):
        signature = f"{tally.scorer.signature(tally.context)}|{how.sign(unit)}"
        why = {ids[image]: reason for image, reason in sorted(tally.why.items())}
        measured[tally.scorer.spec.name] = Measured(
            tally.scorer, tally.context, own_rows, tally.known, dict(sorted(tally.met.items())), own, signature, why
        )
    return measured


def _per_image(
    ids: Sequence[str],
    items: Sequence[Item],
    image_of: NDArray[np.int64],
    stated: Sequence[str],
    measured: Mapping[str, Measured],
    evidence: Sequence[dict[str, dict[str, Any] | None]],
) -> tuple[ImageResult, ...]:
    tables: dict[str, tuple[tuple[str, ...], list[list[float | None]]]] = {}
    for name, m in measured.items():
        if m.scorer.spec.unit != "set":
            table = np.where(m.known[:, None], m.scorer.finalize(m.rows), np.nan)
            tables[name] = m.context.outputs, [[v if isfinite(v) else None for v in row] for row in table.tolist()]
    said: list[list[str]] = [[] for _ in ids]
    for item, image in zip(items, image_of.tolist()):
        said[image].append(item.caption)
    return tuple(
        ImageResult(
            ids[image],
            said[image][0],
            stated[image],
            {name: dict(zip(outputs, table[image])) for name, (outputs, table) in tables.items()},
            evidence[image],
            tuple(said[image][1:]),
        )
        for image in range(len(ids))
    )
