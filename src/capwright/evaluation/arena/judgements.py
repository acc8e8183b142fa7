"""What a judge said of two captions, one JSON row a verdict; an arena that was interrupted goes on from the file.

{"image": "12", "first": "base", "second": "tuned", "repeat": 0, "better": "second", "status": "ok", "reason": "",
 "asked": true, "words": [9, 14], "judge": "...", "seed": 0, "texts": "3f2a0c1d9b8e7f60"}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from capwright.data.append_log import AppendLog, read_rows
from capwright.evaluation.results import MISSING
from capwright.scorers.preference.pairwise import PLACES
from capwright.types import STATUSES, DataError

#: A verdict without a winner is unknown for one of these reasons.
_UNKNOWN = (*(status for status in STATUSES if status not in ("ok", "empty")), MISSING)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict about two captions of an image.

    Attributes:
        image: id of the sample.
        first, second: names of the systems in the order in which their captions were shown.
        repeat: 0, 1, ... where the same was asked again with another seed.
        better: "first", "second", "tie"; None where unknown.
        status: "ok", or why it is unknown; "missing_caption" when a system said nothing.
        reason: what the judge said for it.
        asked: False where no judge was needed, or none could be asked.
        words: of the two captions, cut at white space.
        judge: signature of the judge.
        seed: of the arena.
        texts: digest of all that was shown.
    """

    image: str
    first: str
    second: str
    repeat: int = 0
    better: str | None = None
    status: str = "ok"
    reason: str = ""
    asked: bool = True
    words: tuple[int, int] = (0, 0)
    judge: str = ""
    seed: int = 0
    texts: str = ""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What was asked: the last row with a key counts."""
        return self.image, self.first, self.second, self.repeat


def read_battles(path: str | Path) -> list[Judgement]:
    """The verdicts in a file, the last one for each question, in the order in which they were first asked.

    Only `image`, `first`, `second` and `better` (or a `status`) are needed, so logs of people and of other programs can
    be read too. A torn last line (a crash) is skipped.

    Raises:
        DataError: names the file and line that is not a verdict, and what to do.
    """
    path = Path(path)
    found: dict[tuple[str, str, str, int], Judgement] = {}
    for number, _, row in read_rows(path):
        judgement = _checked(row, f"{path}:{number}")
        found[judgement.key] = judgement
    return list(found.values())


def append_battles(path: str | Path, judgements: Iterable[Judgement]) -> None:
    """Append rows in one write; a torn last line is removed first. DataError when the file cannot be written."""
    with AppendLog(path) as log:
        log.add(*map(asdict, judgements))


def digest(*texts: str) -> str:
    """16 hex digits of texts, each with its length."""
    found = hashlib.blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()


def _checked(row: Any, where: str) -> Judgement:
    if not isinstance(row, dict):
        raise DataError(f'{where}: a row must be an object such as {{"image": "1", "first": "a", "second": "b", ...}}')
    known = {field.name: row[field.name] for field in fields(Judgement) if field.name in row}
    for name in ("image", "first", "second"):
        value = known.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = known[name] = str(value)
        if not isinstance(value, str) or not value:
            raise DataError(f'{where}: "{name}" must be text; add {"the id" if name == "image" else "the system"}')
    if known["first"] == known["second"]:
        raise DataError(f'{where}: "first" and "second" are both "{known["first"]}"; a system does not meet itself')
    for name in ("repeat", "seed"):
        value = known.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise DataError(f'{where}: "{name}" must be a whole number from 0 on, not {value!r}')
    status, better = known.setdefault("status", "ok"), known.get("better")
    if status == "ok" and better not in PLACES:
        raise DataError(
            f'{where}: "better" must be one of {", ".join(PLACES)}, not {better!r}; where it is unknown, give a status'
        )
    if status != "ok" and (status not in _UNKNOWN or better is not None):
        raise DataError(f'{where}: status {status!r} must be "ok", or one of {", ".join(_UNKNOWN)} with "better" null')
    words = known.get("words", (0, 0))
    if not (isinstance(words, (list, tuple)) and len(words) == 2 and all(type(n) is int and n >= 0 for n in words)):
        raise DataError(f'{where}: "words" must be two whole numbers, not {words!r}')
    known["words"] = tuple(words)
    for name in ("reason", "judge", "texts"):
        if not isinstance(known.get(name, ""), str):
            raise DataError(f'{where}: "{name}" must be text, not {known[name]!r}')
    return Judgement(**known)
