"""Scores and paired tests as people read them on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capwright.cli._display import print_table
from capwright.console import count, say, show

if TYPE_CHECKING:
    from capwright.evaluation import Comparison, Evaluation, Scoring

#: Characters of a reason that are shown.
_LONGEST = 200


def print_scoring(scoring: Scoring) -> None:
    """All that was measured on stdout: scores, tests, orders in captions, signatures; why captions have no score on
    stderr."""
    print_scores(scoring)
    say_reasons(scoring.evaluations)
    print_comparisons(scoring.comparisons, scoring.evaluations)
    _print_orders(scoring)
    print_signatures(scoring)
    if any(marked & set(scoring.evaluations[0].scores) for marked in scoring.trained_on.values()):
        show("* the captioner was trained on this score; it says how well training worked, not how good captions are")


def print_scores(scoring: Scoring, only: Iterable[str] | None = None) -> None:
    """Scores with their intervals on stdout, a column a system; a star where a system was trained on the score.

    `only`: "scorer.output" names or prefixes of them; all by default.
    """
    from capwright.evaluation import score_key

    evaluations, rows = scoring.evaluations, []
    wanted = None if only is None else tuple(only)
    for scorer, one in evaluations[0].scores.items():
        for output in one.context.outputs:
            if wanted is None or f"{scorer}.{output}".startswith(wanted):
                digits = digits_of(one.scorer.spec.range_of(output))
                stars = ["*" if scorer in scoring.trained_on.get(e.name, ()) else "" for e in evaluations]
                cells = [with_interval(e.scores[scorer].estimates[output], digits) for e in evaluations]
                rows.append([score_key(scorer, output), *map("".join, zip(cells, stars))])
    for scorer, why in scoring.not_installed.items():
        rows.append([scorer, *(why.partition(" (")[0] for _ in evaluations)])
    rows.append(["captions measured", *(_counts(e) for e in evaluations)])
    rows += [
        [f"of these by {scorer}", *(_counts_of(e, scorer) for e in evaluations)]
        for scorer in evaluations[0].scores
        if any(e.unmeasured(scorer)[0] for e in evaluations)
    ]
    print_table(["", *(e.name for e in evaluations)], rows)
    for evaluation in evaluations:
        _print_groups(evaluation)


def _print_groups(evaluation: Evaluation) -> None:
    """The headlines of groups, a table a key: groups in rows, scores in columns."""
    from capwright.evaluation import score_key

    specs = {name: one.scorer.spec for name, one in evaluation.scores.items() if one.scorer.spec.unit != "set"}
    for key, groups in evaluation.groups.items():
        rows = []
        for group in groups:
            cells = [
                with_interval(group.estimates[name][spec.headline], digits_of(spec.range_of(spec.headline)))
                for name, spec in specs.items()
            ]
            rows.append([group.value, *cells, f"{group.images:,}"])
        header = [key, *(score_key(name, spec.headline) for name, spec in specs.items()), "images"]
        print_table(header, rows, title=f"{evaluation.name} by {key}" if evaluation.name else f"by {key}")


def print_comparisons(comparisons: Iterable[Comparison], evaluations: Sequence[Evaluation]) -> None:
    """Paired tests on stdout, a line each."""
    for c in comparisons:
        name, digits = _name_and_digits(c, evaluations)
        if c.difference is None:
            show(f"{name}: {c.b} against {c.a}: unknown ({c.images:,} images)")
            continue
        adjusted = "" if c.p_holm is None or c.p_holm == c.p else f" (adjusted: {_equation(c.p_holm)})"
        gain = with_interval(c, digits, "+")
        show(f"{name}: {c.b} against {c.a} {gain}, {_equation(c.p)}{adjusted}, {c.images:,} images")


def print_differences(scoring: Scoring) -> None:
    """A table of what B gains over A on stdout: scores in rows, with everything that tells a gain from chance."""
    rows = []
    for c in scoring.comparisons:
        name, digits = _name_and_digits(c, scoring.evaluations)
        scorer, _, output = c.score.partition(".")
        low, high = (number(value, digits, "+") for value in (c.low, c.high))
        rows.append(
            [
                name,
                *(number(one.estimate(scorer, output).value, digits) for one in scoring.evaluations),
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


def print_result(scoring: Scoring, out: Path) -> None:
    """The headline numbers of a run and where to read on."""
    from capwright.runs.pipeline import REPORT

    heads = [f"{name}.{one.scorer.spec.headline}" for name, one in scoring.evaluations[0].scores.items()]
    print_scores(scoring, [*heads, "tts.precision", "tts.tier"])
    first = "tts.micro" if "tts.micro" in heads else heads[0]
    print_comparisons((c for c in scoring.comparisons if c.score == first), scoring.evaluations)
    say(f"report: {out / REPORT}")


def print_signatures(scoring: Scoring) -> None:
    """What made the numbers, a line a scorer; once where all systems were measured alike."""
    found = dict.fromkeys(one.signature for e in scoring.evaluations for one in e.scores.values())
    for signature in found:
        show(signature)


def _print_orders(scoring: Scoring) -> None:
    """A row for each score and kind of order in captions; the control is the price of any further words."""
    rows, first = [], scoring.evaluations[0]
    for effect in scoring.injection:
        spec = first.scores[effect.scorer].scorer.spec
        rows.append(
            [
                effect.score,
                effect.attack,
                with_interval(effect.change, digits_of(spec.range_of(spec.headline)), "+"),
                f"{effect.changed:,} of {effect.images:,}",
                f"{effect.unknown:,} of {effect.images + effect.unknown:,}",
                f"{effect.others_changed:,} of {effect.others:,}",
            ]
        )
    header = ["", "order", "change of its own caption", "own changed", "unknown", "others changed"]
    if rows:
        print_table(header, rows, title=f"orders behind captions of {first.name}")


def say_reasons(evaluations: Iterable[Evaluation]) -> None:
    """Why captions could not be measured, in the judge's words: the most common reason, on stderr."""
    for evaluation in evaluations:
        for scorer, one in evaluation.scores.items():
            found = one.reasons()
            if not found:
                continue
            first, *others = found
            shown = first["reason"] if len(first["reason"]) <= _LONGEST else f"{first['reason'][:_LONGEST]}..."
            more = f"; and {count(len(others), 'other reason')}" if others else ""
            images = count(first["images"], "image")
            system = f"{evaluation.name}: " if evaluation.name else ""
            say(f"{system}{scorer}: unknown for {images}, such as {first['example']}: {shown}{more}")


def digits_of(limits: tuple[float, float]) -> int:
    """Decimals that a score of this range is shown with: 4 up to 10 (BLEU, CIDEr-D), 1 for percentages and lengths."""
    return 4 if limits[1] <= 10 else 1


def number(value: float | None, digits: int, sign: str = "") -> str:
    """ "0.1908", "+0.0" (never "-0.0"), "unknown"; `sign` is that of a format specification."""
    return "unknown" if value is None else f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def with_interval(found: Any, digits: int, sign: str = "") -> str:
    """ "0.1908 (0.1786 to 0.2033)" of an estimate, a comparison or an agreement."""
    value = found.value if hasattr(found, "value") else found.difference
    text = number(value, digits, sign)
    if value is None or found.low is None or found.high is None:
        return text
    return f"{text} ({number(found.low, digits, sign)} to {number(found.high, digits, sign)})"


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
    why = reasons(evaluation.unmeasured(scorer)[1])
    return f"{int(evaluation.scores[scorer].known.sum()):,}" + (f" (unknown: {why})" if why else "")


def _counts(evaluation: Evaluation) -> str:
    lost = sum(evaluation.unknown.values())
    known = len(evaluation.ids) - lost
    if not lost:
        return f"{known:,}"
    return f"{known:,}, unknown: {reasons(evaluation.unknown)}"


def reasons(unknown: Mapping[str, int]) -> str:
    """ "2 timeout, 1 refusal": statuses with the number of captions."""
    return ", ".join(f"{n:,} {status}" for status, n in unknown.items())
