"""Rows as other tools write them, under the keys that predictions and references are read by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: A line of the token files of Flickr8k and Flickr30k: image, number of the caption, caption.
TOKEN_LINE = re.compile(r"([^\t]+)#\d+\t(.*)")
_SPEAKERS = ("gpt", "assistant", "model")


def understood(row: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A row of lmms-eval, ms-swift or a file of conversations with the keys that its parts have here.

    lmms-eval numbers its documents, but what a metric was given names the image; ms-swift names images by path; a file
    of conversations (LLaVA, ShareGPT, `messages`) holds its captions in what the model is to say. Rows of other tools
    are as they were.
    """
    found: dict[str, Any] = {}
    given = [value for value in row.values() if isinstance(value, Mapping) and {"image_id", "pred"} <= set(value)]
    if "doc_id" in row and given:
        found = {"image_id": given[0]["image_id"], "prediction": given[0]["pred"], "references": row.get("target")}
    elif "response" in row:
        found = {"prediction": row["response"], "references": row.get("labels"), "image": _path(row)}
    elif turns := row.get("conversations") or row.get("messages"):
        found = {"references": _replies(turns), "image": row.get("image") or _path(row)}
    return {**row, **{key: value for key, value in found.items() if value is not None}} if found else row


def why_no_id(row: Mapping[Any, Any]) -> str:
    """What to do about rows of a tool that gives them no ids; "" for all others."""
    if {"predict", "label"} <= set(row):
        return (
            "; these are predictions of LLaMA-Factory, which keeps the order of its dataset and no ids: the page on "
            "data formats has a line of Python that adds the ids of that dataset"
        )
    return ""


def _path(row: Mapping[Any, Any]) -> Any:
    """The path of the one image of a row."""
    images = row.get("images")
    if not isinstance(images, list) or len(images) != 1:
        return None
    return images[0].get("path") if isinstance(images[0], Mapping) else images[0]


def _replies(turns: Any) -> list[Any] | None:
    if not isinstance(turns, list):
        return None
    said = [turn for turn in turns if isinstance(turn, Mapping) and turn.get("from", turn.get("role")) in _SPEAKERS]
    return [turn.get("value", turn.get("content")) for turn in said] or None
