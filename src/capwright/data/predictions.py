"""What systems said, from any of the files that predictions come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capwright.data import input_formats as inputs
from capwright.data.captions import checked_row, last_rows
from capwright.data.files import nearest_key, without_collection
from capwright.types import Caption, DataError

#: Where a row keeps what was said; the first that is there is taken.
_KEYS = ("caption", "captions", "prediction", "predictions", "filtered_resps", "text")

#: A row of a caption file ({"id", "caption", "status", "finish", ...}), or several that were said of one image.
Predicted = dict[str, Any] | list[dict[str, Any]]


@without_collection()
def read_predictions(source: str | Path | Mapping[Any, Any] | Sequence[Any]) -> dict[str, Predicted]:
    """Captions by id, in the order of the source: a row, or a list of rows where the source gives several of an image.

    Understood, by content: our caption files (rows with a status; a later row replaces an earlier one, as in
    `read_captions`); COCO results, a list of `{"image_id", "caption"}`; `{id: caption or captions}`; rows of `{"id" or
    "image_id", "caption"}` as JSON lines or as a CSV or TSV table; `{"gts": ..., "res": ...}`, of which "res" is taken;
    what LLaVA, lmms-eval, VLMEvalKit and ms-swift write, whose rows are named by number or by the path of the image.
    Each may be packed with gzip, or be such an object in memory (there a `Caption` is a caption too). Several captions
    of one image are given as a list (`"captions": [...]`, `{id: [...]}`); an id that is there twice is an error.

    Every row has `id` (text: "391895" and 391895 are the same), `caption`, `status` and `finish`; other keys are kept.

    Raises:
        DataError: names the file and line, key or item that cannot be used, and what to do; also for files that hold
            references (COCO annotations, Karpathy splits).
    """
    opened = inputs.open_any(source, "predictions")
    if opened.numbered is not None and opened.path is not None:
        return dict(last_rows(opened.numbered, opened.path))
    found = _from_rows(opened) if opened.document is None else _from_document(opened.document, opened.name)
    if not found:
        raise DataError(f"{opened.name}: holds no captions")
    return found


def _from_document(document: Mapping[Any, Any], name: str) -> dict[str, Predicted]:
    if any(isinstance(document.get(key), list) for key in ("images", "annotations")):
        raise DataError(
            f"{name}: holds references (COCO annotations or a split file), not predictions; predictions come first and "
            'references last: were they swapped? COCO results are a list of {"image_id", "caption"}'
        )
    advice = 'references, but no "res"; add the predictions or name their file'
    found = inputs.identified_values(document, name, "res", "gts", advice)
    return {id: _said(id, value, where) for where, id, value in found}


def _from_rows(source: inputs.Source) -> dict[str, Predicted]:
    found: dict[str, Predicted] = {}
    places: dict[str, str] = {}
    twice: list[tuple[str, str]] = []
    for where, id, row in inputs.identified_rows(source, '{"image_id": 1, "caption": "..."}'):
        if id in found:
            twice.append((id, where))
        else:
            found[id], places[id] = _said(id, row, where), where
    if twice:
        id, second = twice[0]
        raise DataError(_repeated([each for each, _ in twice], places[id], second))
    return found


def _repeated(twice: Sequence[str], first: str, second: str) -> str:
    ids = list(dict.fromkeys(twice))
    others = f"; {len(ids)} ids are there twice: {', '.join(ids[:5])}{' ...' if len(ids) > 5 else ''}" * (len(ids) > 1)
    return (
        f'{second}: the id "{ids[0]}" was used at {first}{others}. Keep one row of each; several captions of one image '
        'are given as "captions": [...] (were references given as predictions?)'
    )


def _said(id: str, value: Any, where: str) -> Predicted:
    """The rows in `value`: a caption, a list of captions, or a row that holds one or the other."""
    if isinstance(value, Mapping):
        key, inner = inputs.row_value(value, _KEYS)
        if not key and "status" not in value:
            known = next((name for name in ("references", "reference") if name in value), "")
            why = f' but "{known}" (were references given as predictions?)' if known else nearest_key(value, _KEYS)
            raise DataError(
                f'{where}: has no caption{why}; give what was said as "caption", or a status such as "timeout"'
            )
        if not isinstance(inner, list):
            rest = {name: each for name, each in value.items() if name != key}
            text = None if inner is None else inputs.text_of(inner, where)
            return checked_row({**rest, "id": id, "caption": text}, where)
        value = inner
    if isinstance(value, (list, tuple)):
        if not value:
            raise DataError(f'{where}: the list of captions is empty; leave the id out, or give "" for a blank one')
        rows = [_row(id, each, where) for each in value]
        return rows if len(rows) > 1 else rows[0]
    return _row(id, value, where)


def _row(id: str, value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, Caption):
        return checked_row({"id": id, "caption": inputs.text_of(value.text, where), "finish": value.finish}, where)
    if isinstance(value, Mapping) and "caption" in value and isinstance(value["caption"], (str, type(None))):
        text = None if value["caption"] is None else inputs.text_of(value["caption"], where)
        return checked_row({**value, "id": id, "caption": text}, where)
    return checked_row({"id": id, "caption": inputs.text_of(value, where)}, where)
