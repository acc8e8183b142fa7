"""Captions in tables: CSV and TSV files as spreadsheets and scripts write them.

The first line names the columns; the separator (comma, semicolon or tab) is the one that makes sense of it. A line ends
at the line feed, so a stray carriage return inside a quoted caption stays in that caption.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from capwright.data.files import nearest_key, not_utf8
from capwright.types import DataError

#: Columns that can hold ids, and columns that can hold captions; the first that is there is taken.
ID_COLUMNS: tuple[str, ...] = ("image_id", "id", "cocoid", "imgid", "file_name", "filename", "image", "image_name")
ID_COLUMNS += ("question_id", "doc_id", "index")  # of LLaVA, lmms-eval, VLMEvalKit
CAPTION_COLUMNS: tuple[str, ...] = ("caption", "captions", "reference", "references", "prediction", "predictions")
CAPTION_COLUMNS += ("sentence", "text", "comment")  # the last of Flickr30k

_SEPARATORS = ("\t", ",", ";", "|")
#: Columns in which a blank cell says nothing.
_PERHAPS = ("status", "finish")
#: A line that Excel puts, and understands, before the names of the columns.
_EXCEL = re.compile(r"sep=.\s*")
#: "caption_1", "caption 2", "Reference.3", "caption#0": one of several columns of the same kind.
_NUMBERED = re.compile(rf"({'|'.join(CAPTION_COLUMNS)})s?[ _.#-]?\d+")


def no_captions(names: Sequence[str]) -> str:
    """What is wrong with a table of captions that has these columns; "" when nothing is."""
    has_id = any(name in ID_COLUMNS for name in names)
    if has_id and any(name in CAPTION_COLUMNS or _NUMBERED.fullmatch(name) for name in names):
        return ""
    hint = nearest_key([name for name in names if name not in ID_COLUMNS], CAPTION_COLUMNS)
    return (
        "is neither JSON nor a table of captions: the first line of a table must name an id column "
        f'({", ".join(ID_COLUMNS[:2])}) and a caption column ({", ".join(CAPTION_COLUMNS[:3])}), such as "id,caption"; '
        f'it is "{", ".join(names)[:120]}"{hint}'
    )


def table_rows(
    lines: Iterable[bytes], path: Path, first: int = 1, wrong: Callable[[Sequence[str]], str] = no_captions
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of each row of a table that is not blank; `first` is the number of the first line.

    `wrong` says what is wrong with the names of the columns, "" when nothing is; it decides on the separator.

    A row is keyed by the names of the columns in lower case. Several caption columns (`caption_1`, `caption_2`, or one
    name that is there twice) become one list under the name without its number, blank cells left out. Ids lose white
    space at both ends; nothing else is changed.

    Raises:
        DataError: names the file and line: no names of columns, a column that is there twice and holds no captions, too
            many cells, a quote that is not closed, a byte that is not UTF-8.
    """
    text = _decoded(lines, path, first)
    heading = next(text, "")
    if _EXCEL.fullmatch(heading):
        heading, first = next(text, ""), first + 1
    names, separator = _columns(heading, path, first, wrong)
    keys, lists = _keys(names)
    twice = next((name for name in names if name and keys.count(name) > 1 and name not in lists), None)
    if twice is not None:
        raise DataError(f'{path}:{first}: the first line names the column "{twice}" twice; rename or remove one')
    for number, cells in _cells(text, separator, path, first + 1):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(keys):
            raise DataError(
                f"{path}:{number}: there are {len(cells)} cells, but the first line names {len(keys)} columns; put "
                "cells that hold the separator into double quotes"
            )
        row: dict[str, Any] = {}
        for key, cell in zip(keys, cells):
            if key in _PERHAPS and not cell.strip():
                continue
            if key not in lists:
                row[key] = cell.strip() if key in ID_COLUMNS else cell
            else:
                row.setdefault(key, []).extend([cell] if cell.strip() else [])
        yield number, row


def _decoded(lines: Iterable[bytes], path: Path, first: int) -> Iterator[str]:
    for number, line in enumerate(lines, first):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: {not_utf8(line, error)}") from error
        if "\r" in text.removesuffix("\n").removesuffix("\r") and number == first:
            raise DataError(f"{path}:{number}: lines end in a lone carriage return; save the file with line feeds")
        yield text


def _columns(heading: str, path: Path, number: int, wrong: Callable[[Sequence[str]], str]) -> tuple[list[str], str]:
    """Names of the columns, lower case, and the separator that makes sense of them."""
    guesses = []
    for separator in _SEPARATORS:
        try:
            cells = next(csv.reader([heading], delimiter=separator, strict=True), [])
        except csv.Error:
            continue
        names = [cell.strip().lower() for cell in cells]
        if not wrong(names):
            return names, separator
        guesses.append(names)
    raise DataError(f"{path}:{number}: {wrong(max(guesses, key=len, default=[]))}")


def _keys(names: Sequence[str]) -> tuple[list[str], set[str]]:
    """The key of each column, and the keys that gather several columns."""
    keys = [found[1] if (found := _NUMBERED.fullmatch(name)) else name for name in names]
    lists = {key for key, name in zip(keys, names) if key != name}
    lists |= {key for key in keys if key in CAPTION_COLUMNS and keys.count(key) > 1}
    return keys, lists


def _cells(text: Iterator[str], separator: str, path: Path, first: int) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each row.

    Tab-separated files are written with quotes (spreadsheets) and without (scripts). A row is first read with quotes;
    when they do not fit, as in `7\t"Hello" he said`, they are taken for a part of the caption. A quote that would make
    one cell of several cells of several lines may be either, and is refused.
    """
    number = first
    for line in text:
        taken = [line]
        try:
            cells = next(
                csv.reader(
                    _tee(line, text, taken), delimiter=separator, skipinitialspace=separator == "|", strict=True
                ),
                [],
            )
        except csv.Error as error:
            cells = _unquoted(taken, separator)
            if not cells:
                raise DataError(f"{path}:{number}: {_why(error, len(taken))}") from error
        else:
            if separator == "\t" and len(taken) > 1 and any(separator in cell and "\n" in cell for cell in cells):
                raise DataError(
                    f'{path}:{number}: the quote that opens here closes {len(taken) - 1} lines later; write "" for a '
                    "quote inside a caption, or save the captions as JSON"
                )
        yield number, cells
        number += len(taken)


def _tee(line: str, text: Iterator[str], taken: list[str]) -> Iterator[str]:
    """`line`, then as many lines of `text` as the reader wants; they are noted in `taken`."""
    yield line
    for more in text:
        taken.append(more)
        yield more


def _unquoted(taken: Sequence[str], separator: str) -> list[str]:
    """The cells of a tab-separated line whose quotes are no quoting; [] where that is no way to read it."""
    line = taken[0].removesuffix("\n").removesuffix("\r")
    return line.split(separator) if separator == "\t" and len(taken) == 1 and "\r" not in line else []


def _why(error: csv.Error, lines: int) -> str:
    text = str(error)
    if "new-line character" in text or "new line" in text:
        return "a carriage return stands in a cell without quotes; remove it or put the cell into double quotes"
    if "NUL" in text:
        return "a cell holds a zero character; remove it"
    if "field larger" in text:
        return f"a cell has more than {csv.field_size_limit():,} characters; close the quote it begins with, or cut it"
    if lines > 1 or "unexpected end" in text:
        return "a quote is opened here and not closed; close it, and write a quote inside a caption as two"
    return f"the quotes do not fit ({text}); put the whole cell into double quotes, and write a quote inside as two"
