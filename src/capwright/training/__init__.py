"""Training: the pure functions of caption reinforcement learning, and one trainer that reads like it.

`advantages` and `losses` are the formulas, `rewards` and `rollout` say what captions are worth,
`trainer` is the loop, `distributed` lets several processes take its steps together, `trl` brings the same to TRL. Names
are loaded on first use. To train from a recipe, use `capwright.train` (`capwright.runs`).
"""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
