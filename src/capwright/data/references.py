"""What captions are scored against, from any of the files that references come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from capwright.data import input_formats as inputs
from capwright.data.dataset import VOCABULARY, Dataset, open_dataset
from capwright.data.files import nearest, nearest_key, without_collection
from capwright.data.formats import ecac, jsonl
from capwright.data.formats.coco import coco_samples
from capwright.data.formats.tables import ID_COLUMNS
from capwright.data.sample_rows import RowReader, strict
from capwright.data.vocabulary import read_vocabulary
from capwright.types import NO_IMAGE, DataError, Sample

#: Where a row keeps its references; the first that is there is taken.
_KEYS = ("references", "reference", "captions", "caption", "sentences", "sentence", "text", "comment")
_FILE_KEYS = ("file_name", "filename", "image")
#: What `meta` does not repeat.
_OWN = {*_KEYS, *_FILE_KEYS, *ID_COLUMNS, "split", "meta"}


@without_collection()
def read_references(
    source: str | Path | Mapping[Any, Any] | Sequence[Any],
    *,
    split: str | None = None,
    images_dir: str | Path | None = None,
) -> Sequence[Sample]:
    """Samples with references, in the order of the source.

    Understood, by content: a dataset folder or its `samples.jsonl`; COCO annotations (captions, and boxes where the
    same file has them); Karpathy split files (`dataset_coco.json`; the id is `cocoid`, else `imgid`, else `filename`);
    `{id: reference or references}`; rows of `{"id" or "image_id", "references" or "captions" or "caption"}` as a JSON
    list, JSON lines or a CSV or TSV table, where several rows of an id are several references; `{"gts": ..., "res":
    ...}`, of which "gts" is taken. Each may be packed with gzip, or be such an object in memory.

    Ids are text ("391895" and 391895 are the same). A sample without an image has `NO_IMAGE`; the name of the image
    is then in `meta["file_name"]` where the source says it. Other keys of a row that are text or numbers, and those of
    its "meta", are in `meta`, as far as all rows of an id agree. References may be missing or blank: `check_alignment`
    tells.

    Args:
        source: a path, or a mapping or list in memory; samples are given back as they are.
        split: only the samples of this split. Karpathy files also have "restval".
        images_dir: where images lie that are named by the source; a dataset folder knows where its own are.

    Raises:
        DataError: names the file and line, key or item that cannot be used, and what to do; or the splits there are.
    """
    folder = None if images_dir is None else Path(images_dir)
    if isinstance(source, Dataset):
        return source if split is None else source.split(split)
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return open_dataset(path, split)
        if not path.exists() and path.name == "kindergarten":
            raise DataError(f"{path}: does not exist; draw it first: capwright scenes build --n 500 --out {path}")
    else:
        given = [each for each in source if isinstance(each, Sample)] if isinstance(source, Sequence) else []
        if given and len(given) == len(source):
            return _chosen(given, split, "references", splits_known=True)
    opened = inputs.open_any(source, "references")
    if opened.numbered is not None:
        raise _not_references(opened.name)
    if opened.document is not None:
        return _from_document(opened.document, opened, split, folder)
    return _from_rows(opened, split, folder)


def _not_references(name: str) -> DataError:
    return DataError(
        f"{name}: is a caption file, what a captioner said, not references; predictions come first, references last: "
        'were they swapped? (To measure against a captioner, write its captions as {"id": ["caption"]}.)'
    )


def _from_document(document: Mapping[Any, Any], source: inputs.Source, split: str | None, folder: Path | None) -> Any:
    name = source.name
    images = document.get("images")
    if isinstance(images, list) and any(isinstance(image, dict) and "sentences" in image for image in images):
        return _chosen(_karpathy(images, name, folder), split, name, splits_known=True)
    if isinstance(images, list) or isinstance(document.get("annotations"), list):
        samples, _ = coco_samples([(name, dict(document))], folder)
        known = any(isinstance(image, dict) and "split" in image for image in images or ())
        return _chosen(samples, split, name, known)
    path = source.path
    if path is not None and path.name == ecac.CAPTIONS and _is_ecac(document):
        return open_dataset(path, split)
    gathered = _Gathered(name, folder)
    advice = 'predictions, but no "gts"; add the references or name their file'
    for where, id, value in inputs.identified_values(document, name, "gts", "res", advice):
        gathered.add(id, value, value if isinstance(value, Mapping) else {}, where)
    return _chosen(gathered.samples(), split, name, gathered.splits_known)


def _is_ecac(document: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, Mapping) and {"image", "captions"} <= set(value) for value in document.values())


def _from_rows(source: inputs.Source, split: str | None, folder: Path | None) -> Any:
    first = next(source.rows, None)
    if first is None:
        raise DataError(f"{source.name}: holds no references")
    source = replace(source, rows=chain([first], source.rows))
    if isinstance(first.value, Mapping):
        if "status" in first.value and "references" not in first.value:
            raise _not_references(source.name)
        if source.path is not None and "id" in first.value and {"image", "images"} & set(first.value):
            if source.path.name == jsonl.FILE:
                return open_dataset(source.path, split)
            if "references" in first.value:
                return _chosen(_dataset_rows(source.rows, source.path, folder), split, source.name, splits_known=True)
    gathered = _Gathered(source.name, folder)
    for where, id, row in inputs.identified_rows(source, '{"id": "1", "references": ["..."]}'):
        gathered.add(id, row, row, where)
    return _chosen(gathered.samples(), split, source.name, gathered.splits_known)


def _dataset_rows(rows: Iterator[inputs.InputRow], path: Path, folder: Path | None) -> list[Sample]:
    """Rows as `samples.jsonl` has them, in a file with another name."""
    words = path.parent / VOCABULARY
    reader = RowReader(folder or path.parent, read_vocabulary(words) if words.exists() else None)
    found: dict[str, tuple[Sample, str]] = {}
    for row in rows:
        sample = reader.read(row.value, strict(lambda key, where=row.where: where))  # type: ignore[misc]
        assert sample is not None
        if sample.id in found:
            raise DataError(f'{row.where}: the id "{sample.id}" was used at {found[sample.id][1]}; ids must be unique')
        found[sample.id] = sample, row.where
    return [sample for sample, _ in found.values()]


@dataclass(slots=True)
class _Reference:
    """What was gathered about one id."""

    texts: list[str] = field(default_factory=list)
    split: str = ""
    file: str = ""
    meta: dict[str, Any] | None = None


class _Gathered:
    """References by id, in the order in which ids appear."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self._name = name
        self._folder = folder
        self._found: dict[str, _Reference] = {}

    @property
    def splits_known(self) -> bool:
        return any(each.split for each in self._found.values())

    def add(self, id: str, value: Any, row: Mapping[Any, Any], where: str) -> None:
        """Add the references in `value`: text, a list, or an object that holds them."""
        if isinstance(value, Mapping):
            key, inner = inputs.row_value(value, _KEYS)
            if not key:
                hint = nearest_key(value, (*_KEYS, "prediction"))
                raise DataError(f'{where}: has no references{hint}; give them as "references", "captions" or "caption"')
            value = inner
        each = self._found.setdefault(id, _Reference())
        if isinstance(value, str):
            each.texts.append(inputs.text_of(value, where))
        elif isinstance(value, Sequence):
            each.texts.extend(inputs.text_of(text, where) for text in value)
        else:
            raise DataError(f"{where}: references must be text or a list of texts")
        each.split = str(row.get("split") or each.split)
        _, file = inputs.row_value(row, _FILE_KEYS)
        each.file = file if isinstance(file, str) else each.file
        meta = _meta(row)
        if each.meta is not None:
            meta = {key: said for key, said in each.meta.items() if meta.get(key) == said}
        each.meta = meta

    def samples(self) -> list[Sample]:
        return [_sample(id, r.texts, r.split or "train", r.file, self._folder, r.meta) for id, r in self._found.items()]


def _meta(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What a row says besides: numbers and texts, and what stands in its "meta"."""
    more = row.get("meta")
    said = {key: value for key, value in row.items() if key not in _OWN and isinstance(value, (str, int, float))}
    return said | (dict(more) if isinstance(more, Mapping) else {})


def _karpathy(images: Sequence[Any], name: str, folder: Path | None) -> list[Sample]:
    samples: dict[str, Sample] = {}
    for place, image in enumerate(images):
        where = f"{name}: images[{place}]"
        sentences = image.get("sentences") if isinstance(image, Mapping) else None
        if not isinstance(sentences, list):
            raise DataError(f"{where}: must be an object with a list of sentences")
        _, value = inputs.row_value(image, ("cocoid", "imgid", "filename"))
        id = inputs.identity(value, where)
        if id in samples:
            raise DataError(f'{where}: the id "{id}" was used by an image before; ids must be unique')
        texts = [_sentence(sentence, f"{where}.sentences") for sentence in sentences]
        file = "/".join(str(image[key]) for key in ("filepath", "filename") if image.get(key))
        samples[id] = _sample(id, texts, str(image.get("split") or "train"), file, folder)
    return list(samples.values())


def _sentence(sentence: Any, where: str) -> str:
    """The text of a sentence; files without "raw" have only its tokens."""
    tokens = sentence.get("tokens") if isinstance(sentence, Mapping) and "raw" not in sentence else None
    return inputs.text_of(" ".join(map(str, tokens)) if isinstance(tokens, list) else sentence, where)


def _sample(
    id: str, texts: Sequence[str], split: str, file: str, folder: Path | None, meta: Mapping[str, Any] | None = None
) -> Sample:
    if file and folder is not None:
        return Sample(id, folder / file, tuple(texts), split=split, meta=meta or {})
    return Sample(
        id, NO_IMAGE, tuple(texts), split=split, meta={**(meta or {}), **({"file_name": file} if file else {})}
    )


def _chosen(samples: list[Sample], split: str | None, name: str, splits_known: bool) -> list[Sample]:
    if not samples:
        raise DataError(f"{name}: holds no references")
    if split is None:
        return samples
    chosen = [sample for sample in samples if sample.split == split]
    if not splits_known:
        raise DataError(f'{name}: names no splits, so there is no "{split}"; leave the split out')
    if not chosen:
        counts = Counter(sample.split for sample in samples)
        known = ", ".join(f'"{each}" ({n})' for each, n in counts.items())
        raise DataError(f'{name}: there is no split "{split}"{nearest(split, counts)}; there are: {known}')
    return chosen
