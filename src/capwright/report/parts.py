"""What pages are made of, that of a run and that of scored captions alike: systems, scores, rows, gains, figures.

Both pages read the one shape in which scores are written (`capwright.evaluation.scoring`). What files do not hold, the
scores of single images, is added by `score_sheet`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from markupsafe import Markup

from capwright.console import count
from capwright.evaluation.compare import Comparison
from capwright.evaluation.results import Estimate
from capwright.report.charts import draw
from capwright.text.tables import read_tables
from capwright.types import EMPTY

#: Tiers from what is said often to what is never said.
TIERS = ("frequent", "common", "occasional", "rare", "never")
#: What pages call things.
WORDS = read_tables("capwright.report", "words.yaml")


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a scorer, and how it is written.

    Attributes:
        key: its name in files: "bleu4", "tts.micro".
        scorer, output: which number; `column` is its place in what `finalize` returns.
        headline: whether it stands for its scorer.
        unit: of the scorer: "item", "item|ctx" or "set".
        better: 1 when higher is better, -1 when lower is, 0 when neither is or it is not known: a scorer declares one
            direction, which is that of its headline and of outputs named after it (bleu1, chairS).
        low, high: its range, as far as it is known.
    """

    key: str
    scorer: str
    output: str
    headline: bool
    better: int = 0
    low: float = -math.inf
    high: float = math.inf
    unit: str = "item"
    column: int = 0

    @property
    def name(self) -> str:
        """Its name for people."""
        return name_of(self.key)

    @property
    def is_main(self) -> bool:
        """Whether it has a row in the first table: headlines, and numbers that go by their own name (bleu1)."""
        return (self.headline or self.key == self.output) and ":" not in self.output and self.scorer != "length"

    @property
    def digits(self) -> int:
        """Decimals: three up to a range of 10, one for percentages and counts."""
        return 3 if self.high <= 10 else 1

    def text(self, value: float | None) -> str:
        """A value as it is written; "unknown" when there is none."""
        return "unknown" if value is None else f"{value:,.{self.digits}f}".replace("-", "−")

    def signed(self, value: float | None) -> str:
        """A difference as it is written."""
        return "unknown" if value is None else f"{value:+,.{self.digits}f}".replace("-", "−")

    def span(self, found: Estimate, signed: bool = False) -> str:
        """Its interval; "" where there is none."""
        write = self.signed if signed else self.text
        return f"{write(found.low)} to {write(found.high)}" if found.has_interval else ""


@dataclass(frozen=True)
class System:
    """One system on a page.

    Attributes:
        key, name: in files, and for people.
        tone: its color.
        scores: by key; what is not there is unknown.
        mean_words: of its captions; None where unknown.
        images: that were measured; None where that is not known.
        unknown: images without a usable caption, by reason; None where that is not known.
        unmeasured: scorer -> images with a caption that it could not measure, and why (statuses).
        known: scorer -> images that it scored.
        trained_on: scorers that it was trained on.
        warnings: what should be read before its numbers are trusted.
    """

    key: str
    name: str
    tone: str
    scores: Mapping[str, Estimate]
    mean_words: float | None
    images: int | None
    unknown: Mapping[str, int] | None
    unmeasured: Mapping[str, tuple[int, tuple[str, ...]]]
    known: Mapping[str, int]
    trained_on: frozenset[str]
    warnings: tuple[str, ...]

    def find(self, key: str) -> Estimate:
        """A score with its interval; unknown where it was not measured."""
        return self.scores.get(key, Estimate())

    def missing(self, scorer: str) -> str:
        """ "3 images unknown" where a scorer knows fewer images than there are."""
        lost = (self.images or 0) - self.known.get(scorer, self.images or 0)
        return f"{count(lost, 'image')} unknown" if lost > 0 else ""


@dataclass(frozen=True)
class Sheet:
    """The systems and scores of a page.

    Attributes:
        systems: in the order given; the first is what the others are compared with.
        scores: of all scorers, headlines and others.
        lead: the score that the page is about; None when no scorer gives an image a score.
        level: of the intervals.
    """

    systems: tuple[System, ...]
    scores: tuple[Score, ...]
    lead: Score | None
    level: float

    @property
    def headlines(self) -> tuple[Score, ...]:
        """One score a scorer."""
        return tuple(score for score in self.scores if score.headline)

    def scale(self, score: Score) -> tuple[float, float]:
        """The scale that a score of all systems is drawn on."""
        return scale_of([system.find(score.key) for system in self.systems], score)

    def trained(self, score: Score) -> tuple[System, ...]:
        """The systems that were trained on what they are measured with."""
        return tuple(system for system in self.systems if score.scorer in system.trained_on)


@dataclass(frozen=True, slots=True)
class Gain:
    """A paired comparison as a row: what a system (or, of two, a score) gains `against` another."""

    name: str
    tone: str
    bar: Markup
    gain: str
    span: str
    verdict: str
    clear: bool
    p: str
    against: str = ""
    more: str = ""
    trained: bool = False


@dataclass(frozen=True, slots=True)
class Headline:
    """`pieces` are (text, tone) pairs that join to one sentence; a tone colors a number like its system."""

    pieces: tuple[tuple[str, str], ...]
    facts: tuple[str, ...]
    caveats: tuple[str, ...]

    @property
    def sentence(self) -> str:
        return "".join(text for text, _ in self.pieces)


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its heading and what it says, or the sentence that explains why there is none."""

    heading: str
    chart: str = ""
    says: str = ""
    absent: str = ""
    tone: str = ""
    note: str = ""


def make_system(key: str, name: str, tone: str, block: Mapping[str, Any], trained_on: Collection[str] = ()) -> System:
    """A system of a file of scores; whatever its block lacks is unknown."""
    images = number(block.get("images"))
    unknown = _counts(block.get("unknown"))
    by, scored = mapping(block.get("unknown_by")), _counts(block.get("scored")) or {}
    unmeasured = {}
    for scorer, n in scored.items():
        lost = int(images or 0) - sum((unknown or {}).values()) - n
        met = _counts(by.get(scorer)) or {}
        if images is not None and lost > 0:
            unmeasured[scorer] = lost, tuple(s for s, n in met.items() if n > (unknown or {}).get(s, 0))
    estimates = {key: as_estimate(node) for key, node in mapping(block.get("scores")).items()}
    words = estimates.get("length.words", Estimate()).value
    warnings = block.get("warnings")
    texts = tuple(text for text in warnings if isinstance(text, str)) if isinstance(warnings, list) else ()
    size = None if images is None else int(images)
    return System(key, name, tone, estimates, words, size, unknown, unmeasured, scored, frozenset(trained_on), texts)


def system_tones(systems: Sequence[str]) -> dict[str, str]:
    """A color class for each system: grey for the first of several, the leading color for the last."""
    middle = [f"tone-{2 + place % 4}" for place in range(max(len(systems) - 2, 0))]
    chosen = ["tone-0", *middle, "tone-1"] if len(systems) > 1 else ["tone-1"]
    return dict(zip(systems, chosen))


def make_gains(sheet: Sheet, score: Score, comparisons: Sequence[Comparison], centered: bool = False) -> list[Gain]:
    """Comparisons of one score, on one scale; named by the second system, and by the first that it is held against.

    `centered`: no difference stands in the middle, so that rows of several scores stand below each other.
    """
    by_key = {system.key: system for system in sheet.systems}
    found = [c for c in comparisons if c.score == score.key]
    ends = [v for c in found for v in (c.difference, c.low, c.high) if v is not None]
    reach = 1.05 * max(map(abs, ends), default=0.0) or 1.0
    low, high = -reach, reach
    if not centered:
        low, high = 1.05 * min([*ends, -0.14 * reach]), 1.05 * max([*ends, 0.14 * reach])
    rows = []
    for c in found:
        one = Estimate(c.difference, c.low, c.high)
        first, second = by_key.get(c.a), by_key.get(c.b)
        rows.append(
            Gain(
                second.name if second else c.b,
                second.tone if second else "",
                draw("interval_bar", one, second.tone if second else "tone-1", low, high, 0),
                score.signed(c.difference),
                score.span(one, signed=True),
                *verdict_on(c, score, sheet.level),
                p_value(c.p if c.p_holm is None else c.p_holm),
                first.name if first else c.a,
                _single_images(c, score),
                any(system is not None and score.scorer in system.trained_on for system in (first, second)),
            )
        )
    return rows


def gains_by_score(
    sheet: Sheet, scores: Iterable[Score], comparisons: Sequence[Comparison], centered: bool = False
) -> list[tuple[str, list[Gain]]]:
    """(name, comparisons) of each score that has any."""
    found = [(score.name, make_gains(sheet, score, comparisons, centered)) for score in scores]
    return [(name, gains) for name, gains in found if gains]


def read_comparisons(document: Mapping[str, Any]) -> list[Comparison]:
    """The paired comparisons of a file of scores; malformed ones are left out."""
    found = []
    for row in mappings(document.get("comparisons")):
        if isinstance(row.get("a"), str) and isinstance(row.get("b"), str):
            values = {each.name: number(row.get(each.name)) for each in fields(Comparison)}
            texts = {name: str(row.get(name, "")) for name in ("a", "b", "score", "signature")}
            counts = {name: None if (n := values[name]) is None else int(n) for name in ("wins", "ties", "losses")}
            found.append(Comparison(**{**values, **counts, **texts, "images": int(values["images"] or 0)}))  # type: ignore[arg-type]
    return found


def read_signatures(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Scorer and signature; where systems were measured differently, each signature once."""
    nodes = [n for block in document.get("systems", {}).values() for n in (block.get("scores") or {}).values()]
    pairs = [(str(node.get("scorer")), str(node["signature"])) for node in nodes if node.get("signature")]
    return list(dict.fromkeys(pairs))


def is_clear(test: Comparison, level: float = 0.95) -> bool:
    """Whether a difference is more than chance: by its test, corrected where it is; without a test by its interval."""
    p = test.p if test.p_holm is None else test.p_holm
    if p is not None:
        return p < 1 - level
    return test.low is not None and test.high is not None and (test.low > 0 or test.high < 0)


def verdict_on(test: Comparison, score: Score, level: float = 0.95) -> tuple[str, bool]:
    """In words, and whether it is clear."""
    if test.difference is None or (test.p is None and test.low is None):
        return "unknown", False
    if not is_clear(test, level):
        return "may be chance", False
    up = test.difference > 0
    if score.better:
        return f"clearly {'better' if up == (score.better > 0) else 'worse'}", True
    return f"clearly {'higher' if up else 'lower'}", True


def scale_of(found: Iterable[Estimate], score: Score) -> tuple[float, float]:
    """The scale that the intervals of one score are drawn on.

    Several systems: what their intervals span, and a little more. One: from 0 to the end of the range, or to a fourth
    above its interval where the range does not end or ends far away.
    """
    known = [one for one in found if one.known]
    ends = [v for one in known for v in (one.value, one.low, one.high) if v is not None]
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    if len(known) > 1 and high > low:
        room = 0.06 * (high - low)
        return low - room, high + room
    roof = score.high if score.high in (1.0, 100.0) else 1.25 * high
    return min(low, 0.0), max(roof, high) or 1.0


def mapping(node: Any) -> Mapping[str, Any]:
    """What stands in a file, where it is what it should be; else nothing."""
    return node if isinstance(node, Mapping) else EMPTY


def mappings(node: Any) -> list[Mapping[str, Any]]:
    """Those of a list that are mappings; nothing of anything else."""
    return [row for row in node if isinstance(row, Mapping)] if isinstance(node, list) else []


def number(value: Any) -> float | None:
    """`value` as a finite float; None for everything else (None, NaN, infinities, text, booleans)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def as_estimate(node: Any) -> Estimate:
    """{"value", "low", "high"} or a bare number; anything else is unknown."""
    if isinstance(node, Mapping):
        return Estimate(number(node.get("value")), number(node.get("low")), number(node.get("high")))
    return Estimate(number(node))


def name_of(key: str) -> str:
    """A score or a scorer as people write it, which the scorers say: "ciderD" is "CIDEr-D"; others go by their key."""
    return _titles().get(key, key)


@cache
def _titles() -> dict[str, str]:
    from capwright.scorers.registry import built_in_scorers

    return {key: title for one in built_in_scorers().values() for key, title in one.spec.titles.items()}


def label(name: str) -> str:
    """A system's or stage's name as a person would write it: "warmup" becomes "Warm-up", "rsrs" "RSRS"."""
    shown = WORDS["stages"] | {key.lower(): title for key, title in _titles().items()}
    words = [shown.get(word.lower(), word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def p_value(p: Any) -> str:
    """A p-value as people write it; "" when there is none."""
    value = number(p)
    if value is None:
        return ""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def join(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _counts(node: Any) -> dict[str, int] | None:
    """{name: whole number above 0}; None for anything that is no mapping."""
    if not isinstance(node, Mapping):
        return None
    return {str(name): int(n) for name, value in node.items() if (n := number(value)) is not None}


def _single_images(test: Comparison, score: Score) -> str:
    """How single images differ, and what so many images could have shown."""
    parts = []
    if test.wins is not None and test.losses is not None:
        tied = f", {test.ties:,} the same" if test.ties else ""
        parts.append(f"higher on {test.wins:,} images, lower on {test.losses:,}{tied}")
    if test.detectable is not None:
        parts.append(f"{test.images:,} images can show a true difference of {score.text(test.detectable)}")
    return "; ".join(parts)
