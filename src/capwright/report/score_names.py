"""How scores are written for people."""

from __future__ import annotations

from functools import cache


def name_of(key: str) -> str:
    """A score or a scorer as people write it, which the scorers say: "ciderD" is "CIDEr-D"; others go by their key."""
    return _names().get(key, key)


@cache
def _names() -> dict[str, str]:
    from capwright.scorers.registry import built_in_scorers

    return {key: title for one in built_in_scorers().values() for key, title in one.spec.titles.items()}
