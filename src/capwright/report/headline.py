"""The report's findings in words, computed from the numbers, with the caveats the numbers call for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capwright.evaluation.results import score_key
from capwright.report.charts import whole
from capwright.report.run_folder import Measure, RunFolder, as_measure, label, number
from capwright.report.score_names import name_of

#: Below this many images the report says that there are few.
FEW_IMAGES = 100
#: Systems that the first sentence has room for.
_NAMED = 4


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
class ComparisonRow:
    """A paired comparison of two systems on the same images: what `b` gains over `a`; `clear` when it is no chance."""

    a: str
    b: str
    score: str
    difference: Measure
    p: str
    verdict: str
    clear: bool


def write_headline(
    run: RunFolder, tones: Mapping[str, str], things: str, unknown: Mapping[str, Mapping[str, int] | None]
) -> Headline:
    """What happened, in one sentence; what else is worth knowing; what to be careful about."""
    scores = {name: run.measure(name, *run.lead) for name in run.systems}
    measured = [name for name in run.systems if scores[name].known]
    caveats = [*_forks(run), *_missing(run, scores, unknown)]
    if not measured:
        return Headline((("This run has no measured score yet.", ""),), (), tuple(caveats))
    first, last = measured[0], measured[-1]
    if run.lead != ("tts", "micro") or not run.trained:
        return _side_by_side(run, tones, things, scores, measured, caveats)
    pieces = [
        ("Before training" if last == "base" else f"After {label(last)}", ""),
        (" the captioner names ", ""),
        (_of_hundred(scores[last]), tones[last]),
        (f" {things} professionally", ""),
    ]
    if first == last:
        pieces.append((".", ""))
        caveats = [*_trained(run), *caveats, "There is no second system in this run to compare it with."]
        return Headline(tuple(pieces), tuple(_facts(run, measured)), tuple(caveats))
    before, now = whole(scores[first].value or 0), whole(scores[last].value or 0)
    then = "before" if first == "base" else f"after {label(first)}"
    if now == before:
        pieces += [("; ", ""), (f"{then}, just as many.", "")]
    else:
        pieces += [
            (f"; {then}, ", ""),
            (_few(scores[first]), tones[first]),
            ("." if now > before else ". It got worse.", ""),
        ]
    caveats = [*_doubts(run, first, last, scores), *_trained(run), *caveats]
    return Headline(tuple(pieces), tuple(_facts(run, measured)), tuple(caveats))


def _side_by_side(
    run: RunFolder,
    tones: Mapping[str, str],
    things: str,
    scores: Mapping[str, Measure],
    measured: Sequence[str],
    caveats: Sequence[str],
) -> Headline:
    """Of captions that were only measured, or of another score than TTS: what each system has, in their order."""
    names = run.lead == ("tts", "micro")
    shown = measured[:_NAMED]
    digits = 1 if any(abs(scores[name].value or 0) > 10 for name in measured) else 3
    pieces: list[tuple[str, str]] = [] if names else [(f"{name_of(score_key(*run.lead))}: ", "")]
    for place, name in enumerate(shown):
        if place:
            pieces.append((" and " if name == measured[-1] else ", ", ""))
        value = _few(scores[name]) if names else f"{scores[name].value or 0:.{digits}f}"
        pieces += [(f"{label(name)} {'names ' if names and not place else ''}", ""), (value, tones[name])]
        if names and not place:
            pieces.append((f" of 100 {things} professionally", ""))
    left = len(measured) - len(shown)
    pieces.append((f" and {count(left, 'other')}." if left else ".", ""))
    first, last = measured[0], measured[-1]
    if first == last:
        doubts = ["There is no second system in this run to compare it with."]
    else:
        doubts = _doubts(run, first, last, scores) if run.trained else _lengths(run, measured)
    facts = _facts(run, measured) if names and first == last else []
    return Headline(tuple(pieces), tuple(facts), (*doubts, *_trained(run), *caveats))


def trained_systems(run: RunFolder, scorer: str) -> tuple[str, ...]:
    """The systems that were trained on a scorer: every stage that saw it as a reward, or went on from one that did.

    What the rewards were is `run.trained_on` of summary.json, {reward: signature}; which stages saw them is in the
    journal. Without a journal it may be any system but the base.
    """
    facts = run.summary.get("run")
    rewards = facts.get("trained_on") if isinstance(facts, Mapping) else None
    if not isinstance(rewards, Mapping):
        return ()
    names = {reward for reward, signature in rewards.items() if str(signature).partition("|")[0] == scorer}
    if not names:
        return ()
    seen = {
        row.get("stage") for row in run.steps if isinstance(row.get("reward"), Mapping) and names & row["reward"].keys()
    }
    if not run.steps:
        return tuple(system for system in run.systems if system != "base")
    trained: list[str] = []
    for before, system in zip(("", *run.systems), run.systems):
        if system in seen or run.starts.get(system, before) in trained:
            trained.append(system)
    return tuple(trained)


def read_comparisons(run: RunFolder) -> list[ComparisonRow]:
    """The paired comparisons of summary.json, those about the leading score first; malformed ones are left out."""
    lead = ".".join(run.lead)
    found = run.summary.get("comparisons")
    comparisons = []
    for row in found if isinstance(found, Sequence) else ():
        if not (isinstance(row, Mapping) and isinstance(row.get("a"), str) and isinstance(row.get("b"), str)):
            continue
        difference = as_measure({"value": row.get("difference"), "low": row.get("low"), "high": row.get("high")})
        score = str(row.get("score", ""))
        clear = _is_clear(difference, number(row.get("p")))
        verdict = _verdict(difference, clear, score)
        comparisons.append(
            ComparisonRow(row["a"], row["b"], score, difference, p_value(row.get("p")), verdict, bool(clear))
        )
    return sorted(comparisons, key=lambda c: c.score != lead)


def p_value(p: Any) -> str:
    """A p-value as people write it; "" when there is none."""
    value = number(p)
    if value is None:
        return ""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def count(n: int, thing: str) -> str:
    """ "1 image", "1,200 images"."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def _is_clear(difference: Measure, p: float | None) -> bool | None:
    """Whether a difference is more than chance, at 5 %: by its test; without a test by its interval; None: unknown."""
    if not difference.known:
        return None
    if p is not None:
        return p < 0.05
    if not difference.has_interval:
        return None
    return (difference.low or 0) > 0 or (difference.high or 0) < 0


def _verdict(difference: Measure, clear: bool | None, score: str) -> str:
    if clear is None:
        return "unknown"
    if not clear:
        return "may be chance"
    up, down = ("better", "worse") if score.startswith("tts.") else ("higher", "lower")
    return f"clearly {up if (difference.value or 0) > 0 else down}"


def _of_hundred(measure: Measure) -> str:
    return f"{_few(measure)} of 100"


def _few(measure: Measure) -> str:
    value = measure.value or 0.0
    return "fewer than 1" if 0 < value < 0.5 else str(whole(value))


def _facts(run: RunFolder, measured: Sequence[str]) -> list[str]:
    first, last, facts = measured[0], measured[-1], []
    between = [f"{label(name)} alone reaches {_few(run.measure(name, 'tts', 'micro'))}" for name in measured[1:-1]]
    if between:
        facts.append(join(between) + ".")
    never, was = run.measure(last, "tts", "by_tier", "never"), run.measure(first, "tts", "by_tier", "never")
    if never.known:
        fact = f"Of the names people never say in everyday captions, it uses {_of_hundred(never)}"
        facts.append(fact + (f"; before, {_few(was)}." if was.known and first != last else "."))
    precision = run.measure(last, "tts", "precision")
    if precision.known:
        facts.append(f"Of 100 professional names it writes, {_few(precision)} are right.")
    return facts


def _doubts(run: RunFolder, first: str, last: str, scores: Mapping[str, Measure]) -> list[str]:
    doubts = []
    old, new = scores[first], scores[last]
    if not (old.has_interval and new.has_interval):
        doubts.append("The scores come without intervals, so how much of a difference is chance is unknown.")
    elif (old.low or 0) <= (new.high or 0) and (new.low or 0) <= (old.high or 0):
        paired = [c for c in read_comparisons(run) if c.score == ".".join(run.lead) and {c.a, c.b} == {first, last}]
        if paired and paired[0].clear:
            doubts.append("Their intervals overlap, though compared image by image the difference is clear.")
        else:
            doubts.append("Their intervals overlap: the difference may be chance.")
    then, now = run.measure(first, "tts", "precision").value, run.measure(last, "tts", "precision").value
    if then is not None and now is not None and then - now > 5:
        doubts.append(
            f"Precision fell from {whole(then)} to {whole(now)}: some of the gain is paid for with wrong names."
        )
    short, long = words_of(run, first).value, words_of(run, last).value
    if short and long and long > 1.5 * short:
        doubts.append(f"Captions grew from {short:.0f} to {long:.0f} words; longer captions name more, right or wrong.")
    never = run.measure(last, "tts", "by_tier", "never")
    if never.value is not None and never.value < 2:
        doubts.append("Names that everyday captions never use are still hardly said.")
    return doubts


def _lengths(run: RunFolder, measured: Sequence[str]) -> list[str]:
    """That systems say much more than others."""
    words = {name: value for name in measured if (value := words_of(run, name).value)}
    if not words:
        return []
    short, long = min(words, key=words.__getitem__), max(words, key=words.__getitem__)
    if words[long] <= 1.5 * words[short]:
        return []
    return [
        f"Captions of {label(long)} are {words[long] / words[short]:.1f} times as long as those of {label(short)} "
        f"({words[long]:.1f} against {words[short]:.1f} words): part of any difference may be length."
    ]


def _trained(run: RunFolder) -> list[str]:
    """That a system is judged by what it was trained on."""
    systems, lead = trained_systems(run, run.lead[0]), name_of(run.lead[0])
    if not systems:
        return []
    was = "was" if len(systems) == 1 else "were"
    return [
        f"{join([label(name) for name in systems])} {was} trained on {lead}, so {lead} says how well the training "
        "worked; whether the captions are better in other ways, it cannot say."
    ]


def words_of(run: RunFolder, system: str) -> Measure:
    """Words a caption, on average."""
    return run.measure(system, "length", "words")


def _missing(
    run: RunFolder, scores: Mapping[str, Measure], unknown: Mapping[str, Mapping[str, int] | None]
) -> list[str]:
    caveats = [f"{label(name)} has captions but no score." for name in run.systems if not scores[name].known]
    for name in run.systems:
        lost = sum((unknown.get(name) or {}).values())
        if lost:
            verb = "is" if lost == 1 else "are"
            caveats.append(f"{count(lost, 'caption')} of {label(name)} {verb} unknown and not in its score.")
        caveats += _unmeasured(run, name, lost)
    sizes = [size for name in run.systems if (size := number((run.summary.get(name) or {}).get("samples"))) is not None]
    if sizes and min(sizes) < FEW_IMAGES:
        caveats.append(f"Only {count(int(min(sizes)), 'image')} {'was' if min(sizes) == 1 else 'were'} measured.")
    caveats += _alarms(run)
    if run.torn:
        caveats.append("The training journal breaks off in the middle of a line: the run was interrupted.")
    return caveats


def _unmeasured(run: RunFolder, name: str, without_caption: int) -> list[str]:
    """What scorers could not measure although there is a caption: a judge that failed, say."""
    block = run.summary.get(name) or {}
    scored, by, samples = (block.get(key) for key in ("scored", "unknown_by", "samples"))
    if not isinstance(scored, Mapping) or not isinstance(by, Mapping) or number(samples) is None:
        return []
    told = []
    for scorer, n in scored.items():
        lost = int(number(samples) or 0) - without_caption - int(number(n) or 0)
        if lost > 0:
            met = by.get(scorer)
            met = met if isinstance(met, Mapping) else {}
            why = join([str(status) for status in met]) if met else "no reason given"
            told.append(
                f"{scorer} of {label(name)}: {count(lost, 'caption')} could not be measured ({why}) and "
                f"{'is' if lost == 1 else 'are'} in none of its numbers."
            )
    return told


def _forks(run: RunFolder) -> list[str]:
    """That stages are two ways to go on, and not one after the other."""
    before = dict(zip(run.systems[1:], run.systems))
    return [
        f"{label(name)} went on from {label(start)}, not from {label(before[name])}: these are two ways to go."
        for name, start in run.starts.items()
    ]


def _alarms(run: RunFolder) -> list[str]:
    """What training warned of, with where it did so first."""
    found: dict[str, str] = {}
    for row in run.steps:
        alarms = row.get("alarms")
        for text in alarms if isinstance(alarms, list) else ():
            sentence = str(text)
            found.setdefault(sentence, f"{label(str(row.get('stage')))}, step {row.get('step')}: {sentence}.")
    return list(found.values())


def join(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
