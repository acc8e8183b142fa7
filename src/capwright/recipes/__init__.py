"""Recipes: what a run does, as one YAML file. `schema` has every key, `files` reads, explains and writes.

Reading a recipe imports neither torch nor a model.
"""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
