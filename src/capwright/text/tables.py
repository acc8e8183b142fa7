"""Tables that come with the package: YAML files beside the code that reads them."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml


def read_tables(package: str, name: str) -> Any:
    """What is in the file `name` of a package, as plain values."""
    return yaml.safe_load(resources.files(package).joinpath(name).read_text(encoding="utf-8"))
