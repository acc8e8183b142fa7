"""Scores and paired tests as people read them on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capwright.cli._display import print_table
from capwright.console import say

if TYPE_CHECKING:
    from capwright.evaluation import Comparison, Evaluation
    from capwright.recipes import Recipe

#: Characters of a reason that are shown.
_LONGEST = 200


def print_scores(
    evaluations: Sequence[Evaluation],
    only: Iterable[str] | None = None,
    *,
    not_installed: Mapping[str, str] | None = None,
    trained_on: Mapping[str, frozenset[str]] | None = None,
) -> None:
    """Scores with their intervals on stdout, a column a system.

    Args:
        only: "scorer.output" names or prefixes of them; all by default.
        not_installed: scorer -> reason, a row each.
        trained_on: system -> scorers it was trained on; their scores get a star.
    """
    from capwright.evaluation import score_key

    rows = []
    wanted = None if only is None else tuple(only)
    for scorer, one in evaluations[0].scores.items():
        for output in one.context.outputs:
            if wanted is None or f"{scorer}.{output}".startswith(wanted):
                digits = digits_of(one.scorer.spec.range_of(output))
                cells = []
                for evaluation in evaluations:
                    star = "*" if scorer in (trained_on or {}).get(evaluation.name, ()) else ""
                    found = evaluation.scores[scorer].estimates[output]
                    cells.append(with_interval(found.value, found.low, found.high, digits) + star)
                rows.append([score_key(scorer, output), *cells])
    for scorer, why in (not_installed or {}).items():
        rows.append([scorer, *(why.partition(" (")[0] for _ in evaluations)])
    rows.append(["captions measured", *(_counts(e) for e in evaluations)])
    rows += [
        [f"of these by {scorer}", *(_counts_of(e, scorer) for e in evaluations)]
        for scorer in evaluations[0].scores
        if any(e.unmeasured(scorer)[0] for e in evaluations)
    ]
    print_table(["", *(e.name for e in evaluations)], rows)


def print_comparisons(comparisons: Iterable[Comparison], evaluations: Sequence[Evaluation]) -> None:
    """Paired tests on stdout, a line each."""
    for c in comparisons:
        name, digits = _name_and_digits(c, evaluations)
        if c.difference is None:
            print(f"{name}: {c.b} against {c.a}: unknown ({c.images:,} images)")
            continue
        adjusted = "" if c.p_holm is None or c.p_holm == c.p else f" (adjusted: {_equation(c.p_holm)})"
        gain = with_interval(c.difference, c.low, c.high, digits, "+")
        print(f"{name}: {c.b} against {c.a} {gain}, {_equation(c.p)}{adjusted}, {c.images:,} images")


def print_differences(comparisons: Iterable[Comparison], evaluations: Sequence[Evaluation]) -> None:
    """A table of what B gains over A on stdout: scores in rows, with everything that tells a gain from chance."""
    rows = []
    for c in comparisons:
        name, digits = _name_and_digits(c, evaluations)
        scorer, _, output = c.score.partition(".")
        low, high = (number(value, digits, "+") for value in (c.low, c.high))
        rows.append(
            [
                name,
                *(number(evaluation.estimate(scorer, output).value, digits) for evaluation in evaluations),
                number(c.difference, digits, "+"),
                "unknown" if c.low is None else f"{low} to {high}",
                _p_value(c.p),
                "" if c.p_holm is None else _p_value(c.p_holm),
                number(c.detectable, digits),
                "" if c.wins is None else f"{c.wins:,} / {c.ties:,} / {c.losses:,}",
            ]
        )
    header = ["", "A", "B", "B - A", "95 % interval", "p", "adjusted", "detectable", "B higher / same / lower"]
    print_table(header, rows)


def print_result(evaluations: Sequence[Evaluation], recipe: Recipe, out: Path) -> None:
    """The headline numbers and where to read on."""
    from capwright.runs.pipeline import REPORT, starts_of
    from capwright.runs.summary import compare_in_order

    heads = [f"{name}.{one.scorer.spec.headline}" for name, one in evaluations[0].scores.items()]
    print_scores(evaluations, [*heads, "tts.precision", "tts.tier"])
    if len(evaluations) > 1:
        first = "tts.micro" if "tts.micro" in heads else heads[0]
        comparisons = compare_in_order(evaluations, starts_of(recipe))
        print_comparisons((c for c in comparisons if c.score == first), evaluations)
    say(f"report: {out / REPORT}")


def print_signatures(evaluations: Sequence[Evaluation]) -> None:
    """What made the numbers, a line a scorer; once where all systems were measured alike."""
    found = dict.fromkeys(one.signature for e in evaluations for one in e.scores.values())
    for signature in found:
        print(signature)


def say_reasons(evaluations: Iterable[Evaluation]) -> None:
    """Why captions could not be measured, in the judge's words: the most common reason, on stderr."""
    for evaluation in evaluations:
        for scorer, one in evaluation.scores.items():
            reasons = one.reasons()
            if not reasons:
                continue
            first, others = reasons[0], reasons[1:]
            shown = first["reason"] if len(first["reason"]) <= _LONGEST else f"{first['reason'][:_LONGEST]}..."
            more = f"; and {len(others):,} other reason{'s' if len(others) > 1 else ''}" if others else ""
            images = f"{first['images']:,} image{'s' if first['images'] > 1 else ''}"
            system = f"{evaluation.name}: " if evaluation.name else ""
            say(f"{system}{scorer}: unknown for {images}, such as {first['example']}: {shown}{more}")


def digits_of(limits: tuple[float, float]) -> int:
    """Decimals that a score of this range is shown with: 4 up to 10 (BLEU, CIDEr-D), 1 for percentages and lengths."""
    return 4 if limits[1] <= 10 else 1


def number(value: float | None, digits: int, sign: str = "") -> str:
    """ "0.1908", "+0.0" (never "-0.0"), "unknown"; `sign` is that of a format specification."""
    return "unknown" if value is None else f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def with_interval(value: float | None, low: float | None, high: float | None, digits: int, sign: str = "") -> str:
    """ "0.1908 (0.1786 to 0.2033)"."""
    text = number(value, digits, sign)
    if value is None or low is None or high is None:
        return text
    return f"{text} ({number(low, digits, sign)} to {number(high, digits, sign)})"


def _name_and_digits(comparison: Comparison, evaluations: Sequence[Evaluation]) -> tuple[str, int]:
    from capwright.evaluation import score_key

    scorer, _, output = comparison.score.partition(".")
    return score_key(scorer, output), digits_of(evaluations[0].scores[scorer].scorer.spec.range_of(output))


def _p_value(p: float | None) -> str:
    """ "0.012", "< 0.001", "unknown"."""
    return "unknown" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _equation(p: float | None) -> str:
    """ "p = 0.012", "p < 0.001", "p unknown"."""
    text = _p_value(p)
    return f"p = {text}" if text[0].isdigit() else f"p {text}"


def _counts_of(evaluation: Evaluation, scorer: str) -> str:
    """ "10 (unknown: 2 timeout)": what the scorer measured, and why it did not measure the rest."""
    why = _reasons(evaluation.unmeasured(scorer)[1])
    return f"{int(evaluation.scores[scorer].known.sum()):,}" + (f" (unknown: {why})" if why else "")


def _counts(evaluation: Evaluation) -> str:
    lost = sum(evaluation.unknown.values())
    known = len(evaluation.ids) - lost
    if not lost:
        return f"{known:,}"
    return f"{known:,}, unknown: {_reasons(evaluation.unknown)}"


def _reasons(unknown: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {status}" for status, n in unknown.items())
