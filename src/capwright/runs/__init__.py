"""Runs: a recipe carried out in a folder that can be looked into, interrupted and resumed at any moment.

`setup` fetches what a run needs, `train_loop` goes through the stages, `checkpoint` and `metrics_log` keep what
happened, `dry_run` tries it beforehand, and `judge_costs` counts what it would ask. Names are loaded on first use.
"""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
