"""A short digest of a value, for signatures."""

from __future__ import annotations

import hashlib
import json


def fingerprint(value: object) -> str:
    """Hex digest (16 characters of a SHA-256) of a JSON value; mappings are order-free."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
