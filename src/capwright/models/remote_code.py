"""Code that a model's folder brings. It runs with all rights of the process, so it runs only where a user allows it."""

from __future__ import annotations


def code_refused(error: BaseException, way: str = "") -> str:
    """What to say when a model was not loaded because of its own code; "" when that was not the reason.

    `way`: how to allow it; without one there is no way.
    """
    if "trust_remote_code" not in str(error):
        return ""
    if not way:
        return "it brings Python code of its own, which is never executed here; choose a model that needs none"
    return f"it brings Python code of its own, which runs with all your rights; if you have read it and trust it, {way}"
