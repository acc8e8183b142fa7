"""SPICE (Anderson et al., ECCV 2016, arXiv 1607.08822): captions compared as scene graphs, by the authors' program.

The program parses caption and references into tuples (objects, attributes, relations) and counts how many of the
caption's are among those of the references, synonyms included. The scores are ours, from these counts. Results are read
by image id, never by their order in the file.
"""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.data.row_store import StatsRow, digest
from capwright.scorers._java import Compared, HeapSize, JavaScorer
from capwright.scorers._words import ReferenceContext
from capwright.scorers.base import Context, Item, ScorerSpec, Stats, item_status
from capwright.scorers.options import Seconds
from capwright.text.java.locate import Java, require
from capwright.text.java.process import JAVA_OPTIONS, JavaTimeoutError, run_once
from capwright.types import ScorerError, Status

#: Captions that one run of Java gets.
_BATCH = 1000
#: From Java 16 on, the program's serializer may look into these packages only when it is allowed to.
_OPENED = (
    *(f"java.base/java.{name}" for name in ("io", "lang", "math", "net", "text", "util", "util.concurrent")),
    "java.sql/java.sql",
)


@dataclass(eq=False)
class SPICE(JavaScorer):
    """The scorer `spice`: outputs spice (the F1 of tuples), precision and recall, each from 0 to 1.

    A caption is scored from three counts: its tuples, those of its references, and the tuples found in both. The scores
    of a corpus are means over the captions that have one, as in the original. Rows are (F1, precision, recall, and for
    each of the three whether the caption has it).

    * A caption without words has no tuples: F1 and recall are 0, precision is unknown. It is not sent to Java.
    * A caption without tuples whose references have none either is unknown. The original gives NaN there, and one such
      caption makes its mean NaN.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows; the original is given PTB tokens.
        timeout: seconds for a run of up to 1,000 captions. Captions of a run that is stopped have status "timeout".
        memory: for Java, as its option -Xmx writes it ("8G").
        cache: whether counts are kept on disk by content.

    Raises:
        ScorerError: a bad option. NotInstalledError comes from `prepare`, and from `stats` when the program is missing
        and a caption is not among the kept ones.
    """

    spec = ScorerSpec(
        name="spice",
        outputs=("spice", "precision", "recall"),
        needs={"references", "java"},
        cost="model",
        about="objects, attributes and relations shared with references, found by the authors' Java program",
        source="arXiv 1607.08822",
        titles={"spice": "SPICE"},
    )
    columns = ("f1", "precision", "recall", "has_f1", "has_precision", "has_recall")
    ratios = (("f1", "has_f1"), ("precision", "has_precision"), ("recall", "has_recall"))

    timeout: Seconds = 1800.0
    memory: HeapSize = "8G"

    _kept = 3

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row an item; all zero, which `finalize` makes NaN, where the sample has no references with words."""
        status, rows, _ = self._measure(items)
        return Stats.of(rows, status)

    def fields(self, context: ReferenceContext) -> Mapping[str, object]:
        """`spice|jar:1.0|synsets:yes|tok:ptb-py.1|ws:collapse|refs:5..7|v:1`."""
        return dict(jar="1.0", synsets="yes", **super().fields(context))

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption {"matched", "tuples", "reference_tuples"}, counts; None where they are unknown."""
        _, _, counts = self._measure(items)
        names = ("matched", "tuples", "reference_tuples")
        return [None if row is None else dict(zip(names, row.tolist())) for row in counts]

    def _measure(self, items: Sequence[Item]) -> tuple[list[str], NDArray[np.float64], list[StatsRow | None]]:
        """Status and row of each item, and its counts where Java gave them."""
        status = list(map(item_status, items))
        compared = self._comparisons(items)
        known = self._counts([one for one in dict.fromkeys(compared.values()) if one[0]])
        rows = np.zeros((len(items), 6))
        counts: list[StatsRow | None] = [None] * len(items)
        for index, one in compared.items():
            if not one[0]:
                rows[index] = (0, 0, 0, 1, 0, 1)
            elif (row := known[one]) is None:
                status[index] = Status.TIMEOUT
            else:
                rows[index] = _scores(row)
                counts[index] = row
        return status, rows, counts

    def _require(self) -> tuple[Java, Path]:
        return require("spice")

    def _half_key(self, meant: Sequence[str]) -> bytes:
        return digest("spice-1.0", "synsets", *meant)

    def _counts(self, asked: Sequence[Compared]) -> dict[Compared, StatsRow | None]:
        keys, kept = self._recall(asked)
        known: dict[Compared, StatsRow | None] = dict(kept)
        new = [one for one in asked if one not in known]
        if new:
            java, jar = self._require()
            for start in range(0, len(new), _BATCH):
                batch = new[start : start + _BATCH]
                try:
                    found = self._ask(java, jar, batch)
                except JavaTimeoutError as error:
                    what = f"{error}; {len(batch)} captions are unknown (status timeout)"
                    warnings.warn(what, RuntimeWarning, stacklevel=2)
                    known |= dict.fromkeys(batch)
                    continue
                known |= dict(zip(batch, found))
                self._store.put({keys[one]: row for one, row in zip(batch, found)})
        return known

    def _ask(self, java: Java, jar: Path, batch: Sequence[Compared]) -> list[StatsRow]:
        entries = [{"image_id": n, "test": said, "refs": list(refs)} for n, (said, refs) in enumerate(batch)]
        command = [str(java.path), *JAVA_OPTIONS, f"-Xmx{self.memory}"]
        if java.major >= 16:
            command += [f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED]
        # No -cache: its database is missing on some machines, and counts are kept here.
        command += ["-jar", str(jar), "in.json", "-out", "out.json", "-subset", "-silent"]
        with tempfile.TemporaryDirectory(prefix="capwright-java-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            (folder / "in.json").write_text(json.dumps(entries), encoding="utf-8")
            run_once("spice", command, folder, self.timeout)
            try:
                text = (folder / "out.json").read_text(encoding="utf-8")
            except FileNotFoundError:
                raise ScorerError("spice: java ended without an error, but wrote no results") from None
        return read_counts(text, len(batch))


def read_counts(text: str, n: int) -> list[StatsRow]:
    """(found, tuples of the caption, tuples of the references) of images 0 to n - 1, from what the program wrote.

    It writes a list of {"image_id", "scores": {"All": {"tp", "fp", "fn", "f", ...}, ...}}, in an order of its own.
    Raises ScorerError when it is something else, when an image is missing or there twice, or when the program's own F1
    is not what the counts say.
    """
    try:
        entries = json.loads(text)
        found: dict[int, StatsRow] = {}
        for entry in entries:
            number = int(entry["image_id"])
            if number in found or not 0 <= number < n:
                raise ScorerError(f"spice: the results have image {number} twice, or it was not asked for")
            found[number] = _read_counts(number, entry["scores"]["All"])
    except (ValueError, KeyError, TypeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ScorerError(f"spice: the results are not written as expected ({what}): {text[:200]!r}") from error
    missing = [number for number in range(n) if number not in found]
    if missing:
        raise ScorerError(f"spice: {len(missing)} of {n} captions have no result (first: number {missing[0]})")
    return [found[number] for number in range(n)]


def _read_counts(number: int, scores: Mapping[str, Any]) -> StatsRow:
    matched, extra, absent = (float(scores[name]) for name in ("tp", "fp", "fn"))
    if not all(math.isfinite(count) and count >= 0 for count in (matched, extra, absent)):
        raise ScorerError(f"spice: image {number} has impossible counts: {dict(scores)}")
    row = np.array([matched, matched + extra, matched + absent])
    stated, own = scores.get("f"), _scores(row)[0]
    if stated is not None and math.isfinite(float(stated)) and abs(float(stated) - own) > 1e-6:
        raise ScorerError(f"spice: image {number} has F1 {stated}, but its counts say {own:g}: {dict(scores)}")
    return row


def _scores(row: StatsRow) -> tuple[float, ...]:
    """(F1, precision, recall, whether there is an F1, a precision, a recall)."""
    matched, said, meant = row.tolist()
    return (
        2 * matched / (said + meant) if said + meant else 0.0,
        matched / said if said else 0.0,
        matched / meant if meant else 0.0,
        float(said + meant > 0),
        float(said > 0),
        float(meant > 0),
    )
