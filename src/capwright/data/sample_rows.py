"""One row of annotations and the Sample it stands for, both ways.

Every layout reads and writes its samples through this. A row is a JSON object with the keys `KEYS`; only `id` and
`image` must be there. A sample of several images has `images`, a list, in place of `image`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from capwright.data.files import nearest
from capwright.types import LEVELS, DataError, Question, Region, Sample, Term, Vocabulary

KEYS = ("id", "image", "images", "references", "terms", "questions", "regions", "split", "meta")
TERM_KEYS = ("name", "level")
QUESTION_KEYS = ("text", "options", "answer", "kind")
REGION_KEYS = ("box", "label", "caption")

#: complain(severity, key of the row, message): told of each trouble; a strict reader raises on "error".
Complain = Callable[[str, str, str], None]
#: Where a key of a row stands: file, and line or None.
Where = Callable[[str], "tuple[Path, int | None]"]
#: note(severity, file, line or None, message): hears of what is wrong with the files of a layout.
Note = Callable[[str, Path, "int | None", str], None]


def refuse(severity: str, file: Path, line: int | None, message: str) -> None:
    """A `Note` that raises DataError on errors."""
    if severity == "error":
        raise DataError(f"{file}:{line}: {message}" if line else f"{file}: {message}")


def strict(place: Callable[[str], str]) -> Complain:
    """A `Complain` that raises DataError on the first error and lets warnings pass. `place(key)` is "file:line"."""

    def complain(severity: str, key: str, message: str) -> None:
        if severity == "error":
            raise DataError(f"{place(key)}: {message}")

    return complain


class RowReader:
    """Turns rows into samples of one dataset.

    Args:
        root: the dataset folder; relative image paths start here.
        vocabulary: what terms are resolved against. None when the dataset has none: terms then keep only what their
            row says, and `terms_used` tells that there were some.
    """

    def __init__(self, root: Path, vocabulary: Vocabulary | None) -> None:
        self.root = root
        self.vocabulary = vocabulary
        self.terms_used = False
        self._names: list[str] = list(vocabulary or ())
        owners: dict[str, set[str]] = {}
        for name, term in (vocabulary or {}).items():
            for alias in term.aliases:
                owners.setdefault(alias, set()).add(name)
        self._aliases = {alias: names.pop() for alias, names in owners.items() if len(names) == 1}
        self._terms: dict[tuple[str, str], Term] = {}

    def read(self, row: Any, complain: Complain) -> Sample | None:
        """The sample of `row`, with what is wrong left out after `complain` heard of it; None without id and image."""
        if not isinstance(row, dict):
            complain(
                "error", "", f'a row must be an object such as {{"id": "1", "image": "images/1.jpg"}}, not {_kind(row)}'
            )
            return None
        _unknown_keys(row, KEYS, "", "", complain)
        identity = row.get("id")
        if isinstance(identity, int) and not isinstance(identity, bool):
            identity = str(identity)
        identity = _text(identity, "id", "id", complain, required=True)
        images = _read_images(row, complain)
        split = _text(row.get("split"), "split", "split", complain) or "train"
        meta = row.get("meta")
        if meta is not None and not isinstance(meta, dict):
            complain("error", "meta", f"meta must be an object, not {_kind(meta)}")
            meta = None
        references = row.get("references")
        references = [references] if isinstance(references, str) else _list(references, "references", complain)
        sample = Sample(
            id=identity,
            image=self.root / images[0] if images else self.root,
            references=tuple(
                _text(each, "references", f"references[{i}]", complain) for i, each in enumerate(references)
            ),
            terms=self._read_terms(row.get("terms"), complain),
            questions=_read_questions(row.get("questions"), complain),
            regions=_read_regions(row.get("regions"), complain),
            split=split,
            meta=meta or {},
            more_images=tuple(self.root / image for image in images[1:]),
        )
        return sample if identity and images else None

    def _read_terms(self, values: Any, complain: Complain) -> tuple[Term, ...]:
        found = []
        for i, value in enumerate(_list(values, "terms", complain)):
            name, level = value, ""
            if isinstance(value, dict):
                _unknown_keys(value, TERM_KEYS, "terms", f"terms[{i}]", complain)
                name, level = value.get("name"), _text(value.get("level"), "terms", f"terms[{i}].level", complain)
            elif not isinstance(value, str):
                complain("error", "terms", f'terms[{i}] must be a name or {{"name", "level"}}, not {_kind(value)}')
                continue
            name = _text(name, "terms", f"terms[{i}]: the name", complain, required=True)
            if level and level not in LEVELS:
                complain("error", "terms", f'terms[{i}]: level "{level}" is not one of {", ".join(LEVELS)}')
                level = ""
            if name:
                term = self._term(name, level)
                if term is None:
                    complain(
                        "error",
                        "terms",
                        f'the term "{name}" is not in vocabulary.yaml{nearest(name, [*self._names, *self._aliases])}; '
                        "correct it or add it there",
                    )
                    term = Term(name, level=level or "professional")
                found.append(term)
        return tuple(found)

    def _term(self, name: str, level: str) -> Term | None:
        self.terms_used = True
        if self.vocabulary is None:
            return Term(name, level=level or "professional")
        key = (name, level)
        if key not in self._terms:
            term = self.vocabulary.get(name)
            if term is None and name in self._aliases:
                term = self.vocabulary[self._aliases[name]]
            if term is None:
                return None
            self._terms[key] = replace(term, level=level) if level else term
        return self._terms[key]


def to_row(sample: Sample, images: Sequence[str]) -> dict[str, Any]:
    """The row of a sample, empty parts left out. `images` are the paths to store."""
    row: dict[str, Any] = {"id": sample.id}
    row |= {"image": images[0]} if len(images) == 1 else {"images": list(images)}
    if sample.references:
        row["references"] = list(sample.references)
    if sample.terms:
        row["terms"] = [{"name": term.name, "level": term.level} for term in sample.terms]
    if sample.questions:
        row["questions"] = [
            {"text": q.text, "options": list(q.options), "answer": q.answer, "kind": q.kind} for q in sample.questions
        ]
    if sample.regions:
        row["regions"] = [
            {"box": [float(n) for n in r.box], "label": r.label, "caption": r.caption} for r in sample.regions
        ]
    row["split"] = sample.split
    if sample.meta:
        row["meta"] = dict(sample.meta)
    return row


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object")


def _text(value: Any, key: str, what: str, complain: Complain, required: bool = False) -> str:
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        complain(
            "error", key, f"{what} is missing; add it" if value is None else f"{what} must be text, not {_kind(value)}"
        )
        return ""
    if required and not value.strip():
        complain("error", key, f"{what} is empty; fill it in")
        return ""
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        complain("error", key, f"{what} holds half of a surrogate pair; the text was cut or decoded wrongly")
        return ""
    return value


def _list(value: Any, key: str, complain: Complain) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        complain("error", key, f"{key} must be a list, not {_kind(value)}")
        return []
    return value


def _read_images(row: Mapping[str, Any], complain: Complain) -> list[str]:
    """The paths of a row's images; [] when there is none that can be used."""
    if "images" not in row:
        values, names, key = [row.get("image")], ["image"], "image"
    else:
        values, key = row["images"], "images"
        if "image" in row:
            complain("error", key, "there are both image and images; keep one of them")
            return []
        if not isinstance(values, list) or not values:
            what = "an empty list" if values == [] else _kind(values)
            complain("error", key, f'images must be a list such as ["images/1.jpg", "images/2.jpg"], not {what}')
            return []
        names = [f"images[{i}]" for i in range(len(values))]
    found = []
    for value, name in zip(values, names):
        image = _text(value, key, name, complain, required=True)
        if "\0" in image:
            complain("error", key, f"{name}: a file name cannot hold a zero character")
        elif image:
            found.append(image)
    return found if len(found) == len(values) else []


def _unknown_keys(row: Mapping[str, Any], known: tuple[str, ...], key: str, where: str, complain: Complain) -> None:
    for name in row:
        if name not in known:
            place = f" in {where}" if where else ""
            complain("warning", key or name, f'unknown key "{name}"{place} is ignored{nearest(name, known)}')


def _read_questions(values: Any, complain: Complain) -> tuple[Question, ...]:
    found = []
    for i, value in enumerate(_list(values, "questions", complain)):
        where = f"questions[{i}]"
        if not isinstance(value, dict):
            complain(
                "error", "questions", f"{where} must be an object with text, options, answer, kind, not {_kind(value)}"
            )
            continue
        _unknown_keys(value, QUESTION_KEYS, "questions", where, complain)
        text = _text(value.get("text"), "questions", f"{where}.text", complain, required=True)
        options = value.get("options")
        if options is not None and not isinstance(options, list):
            complain("error", "questions", f"{where}.options must be a list, not {_kind(options)}")
            options = None
        found.append(
            Question(
                text=text,
                options=tuple(
                    _text(option, "questions", f"{where}.options[{j}]", complain, required=True)
                    for j, option in enumerate(options or ())
                ),
                answer=_text(value.get("answer"), "questions", f"{where}.answer", complain),
                kind=_text(value.get("kind"), "questions", f"{where}.kind", complain),
            )
        )
    return tuple(found)


def _read_regions(values: Any, complain: Complain) -> tuple[Region, ...]:
    found = []
    for i, value in enumerate(_list(values, "regions", complain)):
        where = f"regions[{i}]"
        if not isinstance(value, dict):
            complain("error", "regions", f"{where} must be an object with box, label, caption, not {_kind(value)}")
            continue
        _unknown_keys(value, REGION_KEYS, "regions", where, complain)
        box = _read_box(value.get("box"))
        if box is None:
            complain("error", "regions", f"{where}.box must be four numbers: left, top, right, bottom in pixels")
            continue
        label = _text(value.get("label"), "regions", f"{where}.label", complain)
        caption = _text(value.get("caption"), "regions", f"{where}.caption", complain)
        found.append(Region(box, label, caption))
    return tuple(found)


def _read_box(value: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e15 for n in value):
        return None
    left, top, right, bottom = (float(n) for n in value)
    return left, top, right, bottom
