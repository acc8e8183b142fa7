"""Captions of many samples into one file: in batches, resumable at any row, and no image can stop it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capwright.captioning.captioners import Captioner
from capwright.console import OnProgress
from capwright.types import EMPTY, Caption, DataError, ImageError, ModelError, Request, Sample, SamplingParams

#: The status of a row whose image could not be captioned; "reason" in the row says why.
LOST = "missing_image"
#: Settings that rows name only where they differ from this.
UNNAMED: Mapping[str, Any] = {"guidance": 1.0, "strategy": ""}


@dataclass
class CaptionTally:
    """What a job did. `failures` are (id, reason) of images that could not be captioned, in this job or before."""

    written: int = 0
    kept: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


def caption_file(
    captioner: Captioner,
    samples: Sequence[Sample],
    path: Path,
    sampling: SamplingParams,
    *,
    batch_size: int = 16,
    extra: Mapping[str, Any] = EMPTY,
    with_image: bool = False,
    progress: OnProgress | None = None,
) -> CaptionTally:
    """Write a caption row for every sample to `path`.

    Rows that are there already are kept. Only images that could not be read before are tried again; when one can be
    read now, its new row is appended and takes the place of the old one.

    Args:
        extra: further keys for every row.
        with_image: also store where the image is.
        progress: called with (done, total) samples.
    Raises:
        DataError: the file cannot be read or written, or another job is writing it.
    """
    from capwright.data import CaptionWriter, read_captions
    from capwright.data.locks import only_one

    with only_one(path):  # what is there must not grow meanwhile
        known = read_captions(path) if path.exists() else {}
        tally = CaptionTally()
        todo = [sample for sample in samples if known.get(sample.id, {"status": LOST})["status"] == LOST]
        tally.kept = len(samples) - len(todo)
        done = tally.kept
        if progress:
            progress(done, len(samples))
        with CaptionWriter(path) as writer:
            for sample, row in zip(todo, caption_rows(captioner, todo, sampling, batch_size)):
                if row["status"] == LOST:
                    tally.failures.append((sample.id, row["reason"]))
                if row["status"] != LOST or sample.id not in known:
                    place = {"image": str(sample.image)} if with_image else {}
                    writer.add({"id": row.pop("id"), **place, **row, **extra})
                    tally.written += 1
                done += 1
                if progress:
                    progress(done, len(samples))
    return tally


def caption_rows(
    captioner: Captioner, samples: Sequence[Sample], sampling: SamplingParams, batch_size: int = 16
) -> Iterator[dict[str, Any]]:
    """A row of a caption file for each sample, in order."""
    for start in range(0, len(samples), batch_size):
        yield from _batch_rows(captioner, [Request(s) for s in samples[start : start + batch_size]], sampling)


def _batch_rows(captioner: Captioner, requests: Sequence[Request], sampling: SamplingParams) -> list[dict[str, Any]]:
    try:
        captions = captioner.caption(requests, sampling)
    except (ImageError, ModelError) as error:
        if len(requests) > 1:  # find out which images cannot be read, or are refused by the model
            return [row for request in requests for row in _batch_rows(captioner, [request], sampling)]
        lost = {"caption": "", "status": LOST, "finish": "stop", "reason": str(error)}
        return [{"id": requests[0].sample.id, **lost}]
    if [[isinstance(one, Caption) for one in each] for each in captions or ()] != [[True]] * len(requests):
        raise ModelError("the captioner must give a list for each request, of as many `Caption`s as were asked for")
    return [
        {
            "id": request.sample.id,
            "caption": caption.text,
            "status": "ok" if caption.text.strip() else "empty",
            "finish": caption.finish,
        }
        for request, (caption,) in zip(requests, captions, strict=True)
    ]


def same_origin(path: Path, extra: Mapping[str, Any]) -> None:
    """Refuse to go on with a caption file that was made with other settings.

    Args:
        extra: what every row of the file must say; a row that does not say it was made in an unknown way.
    Raises:
        DataError: names the setting that differs.
    """
    from capwright.data import read_captions

    if not path.exists():
        return
    for row in read_captions(path).values():
        row = {**UNNAMED, **row}
        for key, value in extra.items():
            if key not in row:
                raise DataError(f"{path}: does not say with which {key} its captions were made; choose another --out")
            if row[key] != value:
                raise DataError(
                    f"{path}: holds captions made with {key} {row[key]!r}, not {value!r}; choose another --out"
                )


def tell(tally: CaptionTally, path: Path, most: int = 10) -> list[str]:
    """What a job did, in lines for people."""
    lines = [f"{path}: {tally.written:,} captions written, {tally.kept:,} were there already"]
    if tally.failures:
        lines.append(f"{len(tally.failures):,} images could not be captioned (status {LOST}):")
        lines += [f"  {reason}" for _, reason in tally.failures[:most]]
        if len(tally.failures) > most:
            lines.append(f"  and {len(tally.failures) - most:,} more; see the file")
    return lines
