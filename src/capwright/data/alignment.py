"""Do captions and references belong together? What would make a score silently wrong is found before scoring.

`Finding`s are told to the caller, which decides what to do about each kind: `missing` captions may be an error, or be
counted as unknown. The thresholds are ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capwright.console import shown
from capwright.data.id_matching import match_ids
from capwright.data.model_text import residue
from capwright.types import Caption, Sample

#: What `Finding.kind` can be: about ids and roles, then about text.
KINDS: tuple[str, ...] = ("unmatched", "missing", "extra", "no_references", "swapped", "copied", "constant", "length")
KINDS += ("empty", "blank_reference", "control", "tokenized", "residue", "script", "mojibake")

_SHOWN = 5
#: Captions that are longer than references, or shorter, by more than this say more about length than about quality.
LONG, SHORT = 2.5, 0.4

#: Shares and counts from which something is said.
_COPIED, _CONSTANT, _REPEATED = 0.2, 0.5, 0.1
#: Shares of texts up to which nothing is said, by kind; by default one is enough.
_SHARES = {"tokenized": 0.1, "script": 0.01}
_FEW = 10
_ENOUGH = 100

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_TOKENIZED_MARK = re.compile(r"\S [.,!?;:](?: |$)|[A-Za-z] (?:n't|'s|'re|'ve|'ll)(?: |$)|-[LRlr][RCSrcs][Bb]-|`` | ''")
#: Scripts that put no spaces between words: Han, kana, Thai, Lao, Tibetan, Burmese, Khmer. Two letters or more of them.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff]{2}")
# UTF-8 that was read as Windows-1252 ("donâ€™t", "cafÃ©"), and the mark of a byte that could not be read.
_MOJIBAKE = re.compile("\ufffd|\u00e2\u20ac|\u00c3[\u0080-\u00bf]")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that makes a score wrong, or doubtful.

    Attributes:
        severity: "error" (scores would be wrong) or "warning" (they may be; look at it).
        kind: one of `KINDS`.
        message: what was found, how often, with up to five ids, and what to do.
        ids: all ids that are meant, in order; empty when the whole set is meant.
    """

    severity: str
    kind: str
    message: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}"


@dataclass(frozen=True, slots=True)
class _Pair:
    """What was said of one sample, and what it is compared with; only captions that are known."""

    id: str
    captions: Sequence[str]
    references: Sequence[str]


def check_alignment(
    predictions: Mapping[str, Any], samples: Sequence[Sample], tokenizer: str | None = None
) -> list[Finding]:
    """Everything that looks wrong about these captions and references together; errors first, [] when nothing does.

    Errors: no caption has the id of a sample (the message names a form of id that would match, see `match_ids`),
    samples without a caption, no sample with references. Warnings: captions of unknown ids; predictions and references
    that seem to be swapped; captions that are copies of their own references; one caption for most images; captions far
    longer or shorter than the references; samples without references; empty captions and blank references; line
    breaks and control characters (scoring takes each for a space); text that looks tokenized or wrongly decoded; what
    is a model's and no caption (thoughts, special tokens, labels); scripts without spaces.

    Args:
        predictions: id -> a row ({"caption", "status", ...}), a `Caption`, a text, or a list of these. Captions whose
            status is not "ok" or "empty" are unknown, and their text is not looked at.
        samples: with their references.
        tokenizer: that scores will use; None is ptb.
    """
    by_id = {sample.id: sample for sample in samples}
    meant = {id: tuple(text for text in sample.references if text.strip()) for id, sample in by_id.items()}
    pairs = [_Pair(id, _texts(said), meant.get(id, ())) for id, said in predictions.items()]
    together = [pair for pair in pairs if pair.id in by_id]
    found = [*_ids(predictions, samples, by_id), *_without_references(samples)]
    for check in (_swapped, _copied, _constant, _length):
        found += check(together)
    found += _wording("captions", [(pair.id, pair.captions) for pair in together or pairs], tokenizer)
    found += _wording("references", [(sample.id, sample.references) for sample in samples], tokenizer)
    return sorted(found, key=lambda finding: finding.severity != "error")


def _texts(said: Any) -> list[str]:
    """The texts in what was said of one image, those of unknown status left out."""
    texts = []
    for each in said if isinstance(said, (list, tuple)) else [said]:
        if isinstance(each, Mapping):
            if (each.get("status") or "ok") in ("ok", "empty"):
                texts.append(str(each.get("caption") or ""))
        else:
            texts.append(each.text if isinstance(each, Caption) else str(each))
    return texts


def some(ids: Sequence[str]) -> str:
    """The first five ids, and how many there are besides."""
    shown = ", ".join(f'"{id}"' for id in ids[:_SHOWN])
    return f"{shown} and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else shown or "none"


def _ids(predictions: Mapping[str, Any], samples: Sequence[Sample], by_id: Mapping[str, Sample]) -> Iterator[Finding]:
    missing = tuple(id for id in by_id if id not in predictions)
    extra = tuple(id for id in predictions if id not in by_id)
    if predictions and len(missing) == len(by_id):
        _, form = match_ids(predictions, samples)
        what = f"they would match by {form}: rename them" if form else "is it the file of another dataset or split?"
        ids = f"captions: {some(extra)}; samples: {some(missing)}"
        message = f"none of the {len(extra):,} captions has the id of a sample ({ids}); {what}"
        yield Finding("error", "unmatched", message, extra)
        return
    if missing:
        message = f"{len(missing):,} of {len(by_id):,} samples have no caption: {some(missing)}"
        yield Finding("error", "missing", message + one_split(predictions, samples), missing)
    if extra:
        count = f"{len(extra):,} of {len(predictions):,} captions"
        yield Finding("warning", "extra", f"{count} belong to no sample and are not scored: {some(extra)}", extra)


def one_split(predictions: Mapping[str, Any], samples: Sequence[Sample]) -> str:
    """The advice where captions are those of one split of several; "" where they are not."""
    splits = Counter(sample.split for sample in samples)
    said = {sample.split for sample in samples if sample.id in predictions}
    return (
        f'; all captions are of the split "{said.pop()}": choose it (--split)' if len(said) == 1 < len(splits) else ""
    )


def _without_references(samples: Sequence[Sample]) -> Iterator[Finding]:
    bare = tuple(sample.id for sample in samples if not any(text.strip() for text in sample.references))
    if bare and len(bare) == len(samples):
        message = (
            f"none of the {len(samples):,} samples has a reference; only scorers without references can measure them"
        )
        yield Finding("error", "no_references", message, bare)
    elif bare:
        message = f"{len(bare):,} of {len(samples):,} samples have no reference and no score against one: {some(bare)}"
        yield Finding("warning", "no_references", message, bare)


def _swapped(pairs: Sequence[_Pair]) -> Iterator[Finding]:
    """People write several captions of an image, rarely the same twice; captioners write one and repeat themselves."""
    if len(pairs) < 2 or any(len(pair.references) > 1 for pair in pairs):
        return
    said = sum(len(pair.captions) for pair in pairs) / len(pairs)
    told, known = (_repeated(part) for part in zip(*((p.captions, p.references) for p in pairs)))
    if said >= 1.5:
        why = f"there are {said:.1f} captions of an image on average, but one reference of each"
    elif len(pairs) >= _ENOUGH and known >= _REPEATED and known >= 5 * told and 0.5 <= (_ratio(pairs) or 0) <= 2:
        why = (
            f"{known:.0%} of the references are repeated from image to image, but {told:.0%} of the captions; "
            "captioners repeat themselves and people do not"
        )
    else:
        return
    question = "were predictions and references swapped? Predictions come first, references last"
    yield Finding("warning", "swapped", f"{why}; {question}")


def _repeated(texts: Iterable[Sequence[str]]) -> float:
    """The share of texts that are there more than once."""
    counts = Counter(_plain(text) for group in texts for text in group)
    return sum(n for n in counts.values() if n > 1) / max(1, counts.total())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(" .")


def _copied(pairs: Sequence[_Pair]) -> Iterator[Finding]:
    """Captions that are one of their own references. Short ones may agree by chance and are not counted."""
    compared = [pair for pair in pairs if pair.references and any(len(text.split()) >= 4 for text in pair.captions)]
    copies = []
    for pair in compared:
        known = {_plain(text) for text in pair.references}
        if all(_plain(text) in known for text in pair.captions):
            copies.append(pair.id)
    if len(compared) < _FEW or len(copies) <= _COPIED * len(compared):
        return
    share = len(copies) / len(compared)
    why = "were references given as predictions, or did the captioner see them?"
    if share >= 0.95:
        why = "the scores mean nothing: references were given as predictions. To score a human caption, take it out "
        why += "of the references first"
    message = f"{len(copies):,} of {len(compared):,} captions ({share:.0%}) are copies of one of their own references"
    yield Finding("warning", "copied", f"{message}: {some(copies)}; {why}", tuple(copies))


def _constant(pairs: Sequence[_Pair]) -> Iterator[Finding]:
    counts = Counter(text for pair in pairs for text in {_plain(text) for text in pair.captions if text.strip()})
    text, n = counts.most_common(1)[0] if counts else ("", 0)
    if n <= _CONSTANT * len(pairs) or len(pairs) < _FEW:
        return
    ids = tuple(pair.id for pair in pairs if any(_plain(said) == text for said in pair.captions))
    message = f'{n:,} of {len(pairs):,} images have the same caption, "{text[:60]}": {some(ids)}; does it see them?'
    yield Finding("warning", "constant", message, ids)


def _ratio(pairs: Sequence[_Pair]) -> float | None:
    """Mean words of a caption over mean words of a reference; None where one of the two is not there."""
    said = [len(text.split()) for pair in pairs for text in pair.captions]
    known = [len(text.split()) for pair in pairs for text in pair.references]
    return (sum(said) / len(said)) / (sum(known) / len(known)) if sum(said) and sum(known) else None


def _length(pairs: Sequence[_Pair]) -> Iterator[Finding]:
    ratio = _ratio(pairs)
    if ratio is None or SHORT <= ratio <= LONG:
        return
    how = f"{ratio:.1f} times as long as" if ratio > 1 else f"{ratio:.2f} times as long as (far shorter than)"
    message = (
        f"captions are {how} the references on average; scores that count shared n-grams (BLEU, ROUGE, CIDEr, "
        "METEOR) then measure length more than content"
    )
    yield Finding("warning", "length", message)


def _wording(what: str, texts: Sequence[tuple[str, Sequence[str]]], tokenizer: str | None = None) -> Iterator[Finding]:
    """What the characters of captions or of references show."""
    said = what == "captions"
    total = sum(len(group) for _, group in texts)
    blank = "empty: {}; they count, as captions without words" if said else "blank: {}; they count as none; remove them"
    # A line feed in a reference is harmless, COCO has one; in a caption it says that several lines are scored as one.
    checks: dict[str, tuple[Callable[[str], object], str]] = {
        "empty" if said else "blank_reference": (lambda text: not text.strip(), f"are {blank}"),
        "control": (
            lambda text: _CONTROL.search(text) or (said and "\n" in text.strip()),
            "hold line breaks or control characters: {}; each counts as a space here, other tools may move scores to "
            "other images",
        ),
        "tokenized": (
            _TOKENIZED_MARK.search,
            'look tokenized (" .", " n\'t", "-lrb-"): {}; give them as they were written, or say that they are '
            "tokenized (tokenizer split)",
        ),
        "residue": (
            residue if said else lambda text: "",
            "hold what is the model's and no caption: {} ({}); strip it where it is unmistakable (--strip)",
        ),
        "script": (
            _UNSPACED.search if tokenizer in (None, "ptb", "ptb-java") else lambda text: None,
            "are written without spaces between words: {}; ptb takes a whole clause for a word, take the tokenizer "
            "words (--tokenizer words)",
        ),
        "mojibake": (
            _MOJIBAKE.search,
            'were decoded wrongly (they hold "\ufffd" or the like): {}; save the source as UTF-8',
        ),
    }
    for kind, (wrong, message) in checks.items():
        found = [(id, text) for id, group in texts for text in group if wrong(text)]
        if len(found) > _SHARES.get(kind, 0) * total:
            places, example = tuple(dict(found)), found[0][1]
            shows = f"{wrong(example)}: {shown(example, 60)}"  # only the message of residue has a place for it
            told = message.format(some(places), shows)
            yield Finding("warning", kind, f"{len(found):,} of {total:,} {what} {told}", places)
