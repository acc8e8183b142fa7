"""One row of annotations and the Sample it stands for, both ways.

Every layout reads and writes its samples through this. A row is a JSON object with the keys `KEYS`; only `id` and
`image` must be there. A sample of several images has `images`, a list, in place of `image`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from capwright.data.files import cut_text, kind_of, nearest
from capwright.types import LEVELS, DataError, Question, Region, Sample, Term, Vocabulary

KEYS = ("id", "image", "images", "references", "terms", "questions", "regions", "split", "meta")

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


def repeated(ids: Iterable[str]) -> Iterator[tuple[int, int]]:
    """(place of the first, place of a later one) for each id that comes again."""
    places: dict[str, int] = {}
    for place, id in enumerate(ids):
        if (first := places.setdefault(id, place)) != place:
            yield first, place


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
        parts = _Parts(complain)
        if not isinstance(row, dict):
            parts.wrong(
                "", f'a row must be an object such as {{"id": "1", "image": "images/1.jpg"}}, not {kind_of(row)}'
            )
            return None
        parts.warn_of_unknown_keys(row, KEYS)
        identity = row.get("id")
        if isinstance(identity, int) and not isinstance(identity, bool):
            identity = str(identity)
        identity = parts.text(identity, "id", "id", required=True)
        images = _read_images(row, parts)
        split = parts.text(row.get("split"), "split", "split") or "train"
        meta = row.get("meta")
        if meta is not None and not isinstance(meta, dict):
            parts.wrong("meta", f"meta must be an object, not {kind_of(meta)}")
            meta = None
        references = row.get("references")
        sample = Sample(
            id=identity,
            image=self.root / images[0] if images else self.root,
            references=parts.texts([references] if isinstance(references, str) else references, "references"),
            terms=self._read_terms(row.get("terms"), parts),
            questions=_read_questions(row.get("questions"), parts),
            regions=_read_regions(row.get("regions"), parts),
            split=split,
            meta=meta or {},
            more_images=tuple(self.root / image for image in images[1:]),
        )
        return sample if identity and images else None

    def _read_terms(self, values: Any, parts: _Parts) -> tuple[Term, ...]:
        found = []
        for i, value in enumerate(parts.items(values, "terms")):
            name, level = value, ""
            if isinstance(value, dict):
                parts.warn_of_unknown_keys(value, ("name", "level"), "terms", f"terms[{i}]")
                name, level = value.get("name"), parts.text(value.get("level"), "terms", f"terms[{i}].level")
            elif not isinstance(value, str):
                parts.wrong("terms", f'terms[{i}] must be a name or {{"name", "level"}}, not {kind_of(value)}')
                continue
            name = parts.text(name, "terms", f"terms[{i}]: the name", required=True)
            if level and level not in LEVELS:
                parts.wrong("terms", f'terms[{i}]: level "{level}" is not one of {", ".join(LEVELS)}')
                level = ""
            if name:
                term = self._term(name, level)
                if term is None:
                    hint = nearest(name, [*self._names, *self._aliases])
                    what = f'the term "{name}" is not in vocabulary.yaml{hint}'
                    parts.wrong("terms", f"{what}; correct it or add it there")
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


class _Parts:
    """Reads values of one row. What is wrong is left out, and told with the key of the row that it is about."""

    def __init__(self, complain: Complain) -> None:
        self.complain = complain

    def wrong(self, key: str, message: str) -> None:
        self.complain("error", key, message)

    def warn_of_unknown_keys(
        self, row: Mapping[str, Any], known: Sequence[str], key: str = "", where: str = ""
    ) -> None:
        for name in row:
            if name not in known:
                place = f" in {where}" if where else ""
                self.complain("warning", key or name, f'unknown key "{name}"{place} is ignored{nearest(name, known)}')

    def text(self, value: Any, key: str, what: str, required: bool = False) -> str:
        if value is None and not required:
            return ""
        if value is None:
            self.wrong(key, f"{what} is missing; add it")
        elif not isinstance(value, str):
            self.wrong(key, f"{what} must be text, not {kind_of(value)}")
        elif required and not value.strip():
            self.wrong(key, f"{what} is empty; fill it in")
        elif cut_text(value):
            self.wrong(key, f"{what} {cut_text(value)}")
        else:
            return value
        return ""

    def items(self, value: Any, key: str, what: str = "") -> list[Any]:
        if value is None or isinstance(value, list):
            return value or []
        self.wrong(key, f"{what or key} must be a list, not {kind_of(value)}")
        return []

    def texts(self, value: Any, key: str, what: str = "", required: bool = False) -> tuple[str, ...]:
        what = what or key
        return tuple(
            self.text(each, key, f"{what}[{i}]", required) for i, each in enumerate(self.items(value, key, what))
        )

    def objects(self, value: Any, key: str, known: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """(where, object) of each in a list of objects with the keys `known`."""
        for i, each in enumerate(self.items(value, key)):
            where = f"{key}[{i}]"
            if isinstance(each, dict):
                self.warn_of_unknown_keys(each, known, key, where)
                yield where, each
            else:
                self.wrong(key, f"{where} must be an object with {', '.join(known)}, not {kind_of(each)}")


def _read_images(row: Mapping[str, Any], parts: _Parts) -> list[str]:
    """The paths of a row's images; [] when there is none that can be used."""
    if "images" not in row:
        values, names, key = [row.get("image")], ["image"], "image"
    else:
        values, key = row["images"], "images"
        if "image" in row:
            parts.wrong(key, "there are both image and images; keep one of them")
            return []
        if not isinstance(values, list) or not values:
            what = "an empty list" if values == [] else kind_of(values)
            parts.wrong(key, f'images must be a list such as ["images/1.jpg", "images/2.jpg"], not {what}')
            return []
        names = [f"images[{i}]" for i in range(len(values))]
    found = []
    for value, name in zip(values, names):
        image = parts.text(value, key, name, required=True)
        if "\0" in image:
            parts.wrong(key, f"{name}: a file name cannot hold a zero character")
        elif image:
            found.append(image)
    return found if len(found) == len(values) else []


def _read_questions(values: Any, parts: _Parts) -> tuple[Question, ...]:
    return tuple(
        Question(
            text=parts.text(value.get("text"), "questions", f"{where}.text", required=True),
            options=parts.texts(value.get("options"), "questions", f"{where}.options", required=True),
            answer=parts.text(value.get("answer"), "questions", f"{where}.answer"),
            kind=parts.text(value.get("kind"), "questions", f"{where}.kind"),
        )
        for where, value in parts.objects(values, "questions", ("text", "options", "answer", "kind"))
    )


def _read_regions(values: Any, parts: _Parts) -> tuple[Region, ...]:
    found = []
    for where, value in parts.objects(values, "regions", ("box", "label", "caption")):
        box = _read_box(value.get("box"))
        if box is None:
            parts.wrong("regions", f"{where}.box must be four numbers: left, top, right, bottom in pixels")
            continue
        label, caption = (parts.text(value.get(key), "regions", f"{where}.{key}") for key in ("label", "caption"))
        found.append(Region(box, label, caption))
    return tuple(found)


def _read_box(value: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e15 for n in value):
        return None
    left, top, right, bottom = (float(n) for n in value)
    return left, top, right, bottom
