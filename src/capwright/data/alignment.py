"""Do captions and references belong together? What would make a score silently wrong is found before scoring.

`Finding`s are told to the caller, which decides what to do about each kind: `missing` captions may be an error, or be
counted as unknown. The thresholds are ours.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from capwright.console import shown
from capwright.data.files import without_collection
from capwright.data.id_matching import match_ids
from capwright.data.inflection import OtherForms
from capwright.data.model_text import residue
from capwright.types import Caption, Sample, Vocabulary

#: What `Finding.kind` can be: about ids and roles, then about text.
KINDS: tuple[str, ...] = ("unmatched", "missing", "extra", "no_references", "swapped", "copied", "constant", "length")
KINDS += ("empty", "blank_reference", "control", "tokenized", "residue", "script", "mojibake", "inflected")

_SHOWN = 5
#: Captions that are longer than references, or shorter, by more than this say more about length than about quality.
LONG, SHORT = 2.5, 0.4

#: Shares and counts from which something is said.
_COPIED, _CONSTANT, _REPEATED = 0.2, 0.5, 0.1
#: Shares of texts up to which nothing is said, by kind; by default one is enough.
_SHARES = {"tokenized": 0.1, "script": 0.01}
_FEW = 10
_ENOUGH = 100
#: Captions that are looked through for forms of names.
_FIRST = 2000

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Every branch begins with a fixed character, which is what makes it quick.
_TOKENIZED_MARK = re.compile(
    r" (?=[.,!?;:n'])(?:(?<=\S )[.,!?;:](?: |$)|(?<=[A-Za-z] )(?:n't|'s|'re|'ve|'ll)(?: |$)|'')"
    r"|-[LRlr][RCSrcs][Bb]-|`` "
)
#: Scripts that put no spaces between words: Han, kana, Thai, Lao, Tibetan, Burmese, Khmer. Two letters or more of them.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff]{2}")
# UTF-8 that was read as Windows-1252 ("donâ€™t", "cafÃ©"), and the mark of a byte that could not be read.
_MOJIBAKE = re.compile("\ufffd|\u00e2\u20ac|\u00c3[\u0080-\u00bf]")

#: What is said of texts by kind, in this order: the ids, and for residue what there is of it.
_WORDING = {
    "empty": "are empty: {}; they count, as captions without words",
    "blank_reference": "are blank: {}; they count as none; remove them",
    "control": "hold line breaks or control characters: {}; each counts as a space here, other tools may move scores "
    "to other images",
    "tokenized": 'look tokenized (" .", " n\'t", "-lrb-"): {}; give them as they were written, or say that they are '
    "tokenized (tokenizer split)",
    "residue": "hold what is the model's and no caption: {} ({}); strip it where it is unmistakable (--strip)",
    "script": "are written without spaces between words: {}; ptb takes a whole clause for a word, take the tokenizer "
    "words (--tokenizer words)",
    "mojibake": 'were decoded wrongly (they hold "\ufffd" or the like): {}; save the source as UTF-8',
}


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


@without_collection()
def check_alignment(
    predictions: Mapping[str, Any], samples: Sequence[Sample], tokenizer: str | None = None
) -> list[Finding]:
    """Everything that looks wrong about these captions and references together; errors first, [] when nothing does.

    Errors: no caption has the id of a sample (the message names a form of id that would match, see `match_ids`),
    samples without a caption, no sample with references. Warnings: captions of unknown ids; predictions and references
    that seem to be swapped; captions that are copies of their own references; one caption for most images; captions far
    longer or shorter than the references; samples without references; empty captions and blank references; line
    breaks and control characters (scoring takes each for a space); text that looks tokenized or wrongly decoded; what
    is a model's and no caption (thoughts, special tokens, labels); scripts without spaces; names of the vocabulary of a
    dataset in forms that are not found.

    Args:
        predictions: id -> a row ({"caption", "status", ...}), a `Caption`, a text, or a list of these. Captions whose
            status is not "ok" or "empty" are unknown, and their text is not looked at.
        samples: with their references. They are read once, and none is held.
        tokenizer: that scores will use; None is ptb.
    """
    said = {id: _texts(rows) for id, rows in predictions.items()}
    known = _References(said, tokenizer)
    for sample in samples:
        known.add(sample)
    together = {id: texts for id, texts in said.items() if id in known.splits}
    found = [*_ids(predictions, samples, known), *_without_references(known)]
    found += [*_swapped(together, known), *_copied(together, known), *_constant(together), *_length(together, known)]
    captions = _Wording("captions", tokenizer)
    for id, texts in (together or said).items():
        captions.add(id, texts)
    found += [*captions.findings(), *known.wording.findings(), *_inflected(together, samples)]
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


class _References:
    """What is found out about references while the samples go by, and how captions of the same ids compare with them.

    Attributes:
        splits: id -> split of every sample; bare: ids of those without a reference.
        most: references of a sample that has a caption, at most; words, texts: of all these; plain: how often each.
        compared: how many samples have a caption that could be a copy; copies: ids of those that have.
    """

    def __init__(self, said: Mapping[str, Sequence[str]], tokenizer: str | None) -> None:
        self._said = said
        self.splits: dict[str, str] = {}
        self.bare: list[str] = []
        self.most = self.words = self.texts = self.compared = 0
        self.plain: Counter[int] = Counter()
        self.copies: set[str] = set()
        self.wording = _Wording("references", tokenizer)

    def add(self, sample: Sample) -> None:
        self.splits[sample.id] = sys.intern(sample.split)
        self.wording.add(sample.id, sample.references)
        texts = [text for text in sample.references if text.strip()]
        if not texts:
            self.bare.append(sample.id)
        if sample.id not in self._said:
            return
        self.most = max(self.most, len(texts))
        counts = [len(text.split()) for text in texts]
        self.texts += len(texts)
        self.words += sum(counts)
        if self.most <= 1:  # else nobody asks
            self.plain.update(hash(_plain(text)) for text in texts)
        captions = [(text, len(text.split())) for text in self._said[sample.id]]
        if texts and any(n >= 4 for _, n in captions):
            self.compared += 1
            if all(_is_among(text, n, texts, counts) for text, n in captions):
                self.copies.add(sample.id)


def some(ids: Sequence[str]) -> str:
    """The first five ids, and how many there are besides."""
    shown = ", ".join(f'"{id}"' for id in ids[:_SHOWN])
    return f"{shown} and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else shown or "none"


def _ids(predictions: Mapping[str, Any], samples: Sequence[Sample], known: _References) -> Iterator[Finding]:
    missing = tuple(id for id in known.splits if id not in predictions)
    extra = tuple(id for id in predictions if id not in known.splits)
    if predictions and len(missing) == len(known.splits):
        _, form = match_ids(predictions, samples)
        what = f"they would match by {form}: rename them" if form else "is it the file of another dataset or split?"
        ids = f"captions: {some(extra)}; samples: {some(missing)}"
        message = f"none of the {len(extra):,} captions has the id of a sample ({ids}); {what}"
        yield Finding("error", "unmatched", message, extra)
        return
    if missing:
        message = f"{len(missing):,} of {len(known.splits):,} samples have no caption: {some(missing)}"
        yield Finding("error", "missing", message + one_split(predictions, known.splits), missing)
    if extra:
        count = f"{len(extra):,} of {len(predictions):,} captions"
        yield Finding("warning", "extra", f"{count} belong to no sample and are not scored: {some(extra)}", extra)


def one_split(said: Collection[str], splits: Mapping[str, str]) -> str:
    """The advice where captions are those of one split of several; "" where they are not. `splits` is by id."""
    told = {split for id, split in splits.items() if id in said}
    several = len(set(splits.values())) > 1
    return f'; all captions are of the split "{told.pop()}": choose it (--split)' if len(told) == 1 and several else ""


def _without_references(known: _References) -> Iterator[Finding]:
    bare, count = tuple(known.bare), len(known.splits)
    if bare and len(bare) == count:
        message = f"none of the {count:,} samples has a reference; only scorers without references can measure them"
        yield Finding("error", "no_references", message, bare)
    elif bare:
        message = f"{len(bare):,} of {count:,} samples have no reference and no score against one: {some(bare)}"
        yield Finding("warning", "no_references", message, bare)


def _swapped(together: Mapping[str, Sequence[str]], known: _References) -> Iterator[Finding]:
    """People write several captions of an image, rarely the same twice; captioners write one and repeat themselves."""
    if len(together) < 2 or known.most > 1:
        return
    each = sum(map(len, together.values())) / len(together)
    plain = Counter(hash(_plain(text)) for texts in together.values() for text in texts)
    told, people = (
        sum(n for n in counts.values() if n > 1) / max(1, counts.total()) for counts in (plain, known.plain)
    )
    if each >= 1.5:
        why = f"there are {each:.1f} captions of an image on average, but one reference of each"
    elif (
        len(together) >= _ENOUGH
        and people >= _REPEATED
        and people >= 5 * told
        and 0.5 <= (_ratio(together, known) or 0) <= 2
    ):
        why = (
            f"{people:.0%} of the references are repeated from image to image, but {told:.0%} of the captions; "
            "captioners repeat themselves and people do not"
        )
    else:
        return
    question = "were predictions and references swapped? Predictions come first, references last"
    yield Finding("warning", "swapped", f"{why}; {question}")


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(" .")


def _is_among(text: str, words: int, others: Sequence[str], counts: Sequence[int]) -> bool:
    """Whether a text is one of others but for case, spaces and a last full stop, which may be a word."""
    return any(abs(words - n) <= 1 and _plain(text) == _plain(other) for other, n in zip(others, counts))


def _copied(together: Mapping[str, Sequence[str]], known: _References) -> Iterator[Finding]:
    """Captions that are one of their own references. Short ones may agree by chance and are not counted."""
    copies = tuple(id for id in together if id in known.copies)
    if known.compared < _FEW or len(copies) <= _COPIED * known.compared:
        return
    share = len(copies) / known.compared
    why = "were references given as predictions, or did the captioner see them?"
    if share >= 0.95:
        why = "the scores mean nothing: references were given as predictions. To score a human caption, take it out "
        why += "of the references first"
    message = f"{len(copies):,} of {known.compared:,} captions ({share:.0%}) are copies of one of their own references"
    yield Finding("warning", "copied", f"{message}: {some(copies)}; {why}", copies)


def _constant(together: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    counts = Counter(text for texts in together.values() for text in {_plain(text) for text in texts if text.strip()})
    text, n = counts.most_common(1)[0] if counts else ("", 0)
    if n <= _CONSTANT * len(together) or len(together) < _FEW:
        return
    ids = tuple(id for id, texts in together.items() if text in map(_plain, texts))
    message = f'{n:,} of {len(together):,} images have the same caption, "{text[:60]}": {some(ids)}; does it see them?'
    yield Finding("warning", "constant", message, ids)


def _ratio(together: Mapping[str, Sequence[str]], known: _References) -> float | None:
    """Mean words of a caption over mean words of a reference; None where one of the two is not there."""
    said = [len(text.split()) for texts in together.values() for text in texts]
    return (sum(said) / len(said)) / (known.words / known.texts) if sum(said) and known.words else None


def _length(together: Mapping[str, Sequence[str]], known: _References) -> Iterator[Finding]:
    ratio = _ratio(together, known)
    if ratio is None or SHORT <= ratio <= LONG:
        return
    how = f"{ratio:.1f} times as long as" if ratio > 1 else f"{ratio:.2f} times as long as (far shorter than)"
    message = (
        f"captions are {how} the references on average; scores that count shared n-grams (BLEU, ROUGE, CIDEr, "
        "METEOR) then measure length more than content"
    )
    yield Finding("warning", "length", message)


def _inflected(together: Mapping[str, Sequence[str]], samples: Sequence[Sample]) -> Iterator[Finding]:
    forms = OtherForms(getattr(samples, "vocabulary", None) or Vocabulary({}))
    for text in islice(chain.from_iterable(together.values()), _FIRST):
        forms.add(text)
    if message := forms.describe("captions"):
        yield Finding("warning", "inflected", message)


class _Wording:
    """What the characters of captions or of references show; texts go by and are not held, but for examples."""

    def __init__(self, what: str, tokenizer: str | None) -> None:
        self._what = what
        self._total = 0
        self._ids: dict[str, list[str]] = {}
        self._examples: dict[str, str] = {}
        said = what == "captions"
        self._checks: dict[str, Callable[[str], object]] = {
            "empty" if said else "blank_reference": lambda text: not text.strip(),
            # A line feed in a reference is harmless, COCO has one; in a caption it says that several lines are one.
            "control": lambda text: (
                not text.isprintable() and (_CONTROL.search(text) or (said and "\n" in text.strip()))
            ),
            "tokenized": _TOKENIZED_MARK.search,
            "mojibake": lambda text: not text.isascii() and _MOJIBAKE.search(text),
        }
        if said:
            self._checks["residue"] = residue
        if tokenizer in (None, "ptb", "ptb-java"):
            self._checks["script"] = lambda text: not text.isascii() and _UNSPACED.search(text)

    def add(self, id: str, texts: Sequence[str]) -> None:
        self._total += len(texts)
        for text in texts:
            for kind, wrong in self._checks.items():
                if wrong(text):
                    self._ids.setdefault(kind, []).append(id)
                    self._examples.setdefault(kind, text)

    def findings(self) -> Iterator[Finding]:
        for kind, message in _WORDING.items():
            found = self._ids.get(kind, ())
            if len(found) > _SHARES.get(kind, 0) * self._total:
                places, example = tuple(dict.fromkeys(found)), self._examples[kind]
                shows = f"{self._checks[kind](example)}: {shown(example, 60)}" if kind == "residue" else ""
                told = f"{len(found):,} of {self._total:,} {self._what} {message.format(some(places), shows)}"
                yield Finding("warning", kind, told, places)
