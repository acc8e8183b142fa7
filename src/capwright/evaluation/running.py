"""Run scorers over the captions of one system: scores with intervals, evidence for each image, honest counts.

An image counts for a scorer only when every row that the scorer made of it is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.evaluation.results import MISSING, Estimate, Evaluation, ImageResult, Measured
from capwright.evaluation.statistics import bootstrap_sums, intervals, known
from capwright.scorers import SCORED, Context, Corpus, Item, Scorer, ScorerError, get_scorer
from capwright.types import STATUSES, Caption, DataError, Sample, Vocabulary

Progress = Callable[[int, int], None]
CaptionRow = Mapping[str, Any] | Caption | str

_CHUNK = 4096
_SHOWN = 5


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
    captions: Mapping[str, CaptionRow],
    scorers: Iterable[str | Scorer] | Sequence[tuple[Scorer, Context]] = ("tts", "length"),
    seed: int = 0,
    replicates: int = 1000,
    *,
    vocabulary: Vocabulary | None = None,
    name: str = "",
    level: float = 0.95,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure the captions of one system.

    Args:
        samples: the split to measure on.
        captions: id -> row of a caption file ({"caption", "status", "finish"}), a Caption, or plain text. A sample
            without a row is unknown: it is counted and warned about, and no score includes it. Rows with other ids
            are warned about.
        scorers: names, scorers, or what `prepare_scorers` returned (for several systems: the same contexts).
        seed, replicates, level: of the bootstrap intervals; images are the unit.
        vocabulary: see `prepare_scorers`.
        name: of the system, for comparisons.
        progress: called with (done, total) captions as they are measured.

    Raises:
        DataError: no samples, two with one id, a caption row that can not be read, or no row for any sample.
        ScorerError: an unknown scorer, or one that fails.
    """
    ids = _read_ids(samples)
    ready = _ready(samples, scorers, vocabulary)
    warnings, absent = _align(ids, captions)
    items = [
        _item(sample, captions[sample.id]) if sample.id not in absent else Item(sample, "", "missing_image")
        for sample in samples
    ]
    stated = [MISSING if item.sample.id in absent else item.status for item in items]
    total = len(items) * max(1, len(ready))
    raw: list[tuple[Scorer, Context, NDArray[np.float64], NDArray[np.bool_], Counter[str]]] = []
    evidence: list[dict[str, dict[str, Any] | None]] = [{} for _ in items]
    for number, (scorer, context) in enumerate(ready):
        rows, is_known, met = _measure(scorer, context, items, evidence, stated, number * len(items), total, progress)
        raw.append((scorer, context, rows, is_known, met))
    measured = _estimate(raw, seed, replicates, level)
    return Evaluation(
        name=name,
        ids=ids,
        scores=measured,
        per_image=tuple(_per_image(items, stated, measured, evidence)),
        unknown=dict(sorted(Counter(status for status in stated if status not in SCORED).items())),
        warnings=tuple(warnings),
        seed=seed,
        replicates=replicates,
        level=level,
    )


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


def _align(ids: tuple[str, ...], captions: Mapping[str, CaptionRow]) -> tuple[list[str], set[str]]:
    absent = [name for name in ids if name not in captions]
    extra = sorted(set(captions) - set(ids))
    if len(absent) == len(ids):
        raise DataError(
            f"none of the {len(captions)} caption ids is the id of a sample (captions: {_some(extra)}; samples: "
            f"{_some(ids)}); is it the caption file of another dataset or split?"
        )
    warnings = []
    if absent:
        warnings.append(f"{len(absent)} of {len(ids)} samples have no caption and are unknown: {_some(absent)}")
    if extra:
        warnings.append(f"{len(extra)} captions belong to no sample and were not measured: {_some(extra)}")
    return warnings, set(absent)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "none"


def _item(sample: Sample, row: CaptionRow) -> Item:
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


def _measure(
    scorer: Scorer,
    context: Context,
    items: Sequence[Item],
    evidence: list[dict[str, dict[str, Any] | None]],
    stated: Sequence[str],
    done: int,
    total: int,
    progress: Progress | None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], Counter[str]]:
    """Rows [images, k], which are known, and counts of unknown statuses; evidence is written into the list."""
    name = scorer.spec.name
    parts: list[NDArray[np.float64]] = []
    flags: list[NDArray[np.bool_]] = []
    met: Counter[str] = Counter()
    for first in range(0, len(items), _CHUNK):
        chunk = items[first : first + _CHUNK]
        stats = scorer.stats(chunk, context)
        rows, is_known = stats.by_item(len(chunk))
        parts.append(rows)
        flags.append(is_known)
        several = len(stats.owner) != len(chunk)
        for owner, status, found in zip(stats.owner.tolist(), stats.status, stats.evidence):
            if status not in SCORED:
                met[MISSING if stated[first + owner] == MISSING else status] += 1
            held = evidence[first + owner]
            if several:
                gathered = held.setdefault(name, {"rows": []})
                if gathered is not None:
                    gathered["rows"].append(found)
            else:
                held[name] = found
        if progress is not None:
            progress(done + first + len(chunk), total)
    is_known = np.concatenate(flags)
    return np.where(is_known[:, None], np.concatenate(parts), 0.0), is_known, met


def _estimate(
    raw: Sequence[tuple[Scorer, Context, NDArray[np.float64], NDArray[np.bool_], Counter[str]]],
    seed: int,
    replicates: int,
    level: float,
) -> dict[str, Measured]:
    """Point estimates and intervals. Scorers that know the same images share one matrix product."""
    sums: list[NDArray[np.float64]] = [np.zeros(0)] * len(raw)
    shared: dict[bytes, list[int]] = {}
    for index, (_, _, _, is_known, _) in enumerate(raw):
        shared.setdefault(is_known.tobytes(), []).append(index)
    for members in shared.values():
        is_known = raw[members[0]][3]
        joined = np.concatenate([raw[i][2][is_known] for i in members], axis=1)
        drawn = bootstrap_sums(joined, replicates if is_known.sum() > 1 else 0, seed)
        edges = np.cumsum([raw[i][2].shape[1] for i in members])[:-1]
        for i, part in zip(members, np.split(drawn, edges, axis=1)):
            sums[i] = part
    measured: dict[str, Measured] = {}
    for (scorer, context, rows, is_known, met), drawn in zip(raw, sums):
        values = scorer.finalize(rows[is_known].sum(0))
        low, high = intervals(scorer.finalize(drawn), level)
        estimates = {
            output: Estimate(
                known(values[i]),
                known(low[i]) if np.isfinite(values[i]) else None,
                known(high[i]) if np.isfinite(values[i]) else None,
            )
            for i, output in enumerate(context.outputs)
        }
        width = "" if level == 0.95 else f"@{100 * level:g}"
        signature = f"{scorer.signature(context)}|ci:boot{replicates}{width}|unit:image|seed:{seed}"
        measured[scorer.spec.name] = Measured(
            scorer, context, rows, is_known, dict(sorted(met.items())), estimates, signature
        )
    return measured


def _per_image(
    items: Sequence[Item],
    stated: Sequence[str],
    measured: Mapping[str, Measured],
    evidence: Sequence[dict[str, dict[str, Any] | None]],
) -> Iterable[ImageResult]:
    tables = {}
    for name, m in measured.items():
        if m.scorer.spec.unit != "set":
            tables[name] = np.where(m.known[:, None], m.scorer.finalize(m.rows), np.nan)
    for index, item in enumerate(items):
        scores = {
            name: {output: known(value) for output, value in zip(measured[name].context.outputs, table[index])}
            for name, table in tables.items()
        }
        yield ImageResult(item.sample.id, item.caption, stated[index], scores, evidence[index])
