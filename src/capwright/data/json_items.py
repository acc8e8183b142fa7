"""A JSON file read item by item, so that each is known with the line it begins on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capwright.data.files import DECODER, json_trouble, read_text
from capwright.types import DataError

_SPACE = " \t\r\n"


class JsonText:
    """The text of one file and a place in it. The file is held as a whole.

    Raises:
        DataError: names the file and line where it is not UTF-8, or stops being JSON of the form that is asked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = read_text(path)
        self._at = 0
        self._line, self._counted = 1, 0

    def entries(self) -> Iterator[tuple[int, str, Any]]:
        """(line, key, value) of a file that is one object, in file order; a key may come twice."""
        self._expect("{", "the file must be one object, such as {id: ...}")
        for _ in self._items("}"):
            if self._peek() != '"':
                raise self._wrong("expected an id in double quotes (is there a comma too many?)")
            line, key = self._value()
            self._expect(":", f'expected ":" after "{key}"')
            yield line, key, self._value()[1]

    def elements(self) -> Iterator[tuple[int, Any]]:
        """(line, value) of a file that is one list."""
        self._expect("[", "the file must be one list, such as [id, ...]")
        for _ in self._items("]"):
            yield self._value()

    def _items(self, closing: str) -> Iterator[None]:
        """Yield before each item of an open list or object, then take what stands between items and at the end."""
        if self._peek() != closing:
            yield
            while self._peek() != closing:
                self._expect(",", f'expected "," or "{closing}"')
                yield
        self._at += 1
        if self._peek():
            raise self._wrong(f'there is more after the closing "{closing}"')

    def _peek(self) -> str:
        """Skip white space; the next character, or '' at the end."""
        while self._text[self._at : self._at + 1] in _SPACE and self._at < len(self._text):
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _expect(self, character: str, why: str) -> None:
        if self._peek() != character:
            raise self._wrong(why)
        self._at += 1

    def _value(self) -> tuple[int, Any]:
        """(line, value) of one JSON value."""
        self._peek()
        line = self._here()
        try:
            value, self._at = DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            self._at = error.pos
            raise self._wrong(json_trouble(error)) from error
        except (ValueError, RecursionError) as error:
            raise self._wrong("nested too deeply" if isinstance(error, RecursionError) else str(error)) from error
        return line, value

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _wrong(self, why: str) -> DataError:
        return DataError(f"{self._path}:{self._here()}: not valid JSON: {why}; correct the file")
