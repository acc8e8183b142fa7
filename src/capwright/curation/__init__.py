"""Making data better before anything is trained on it: steps that take samples and give samples.

    steps = [Deduplicate(), MakeQuestions(judge=judge)]
    run_steps(steps, open_dataset("toys"), "toys-curated", journal="toys.journal.jsonl")

`base.Step` is what a step is, `registry` finds steps by name, `recipe` reads what `capwright curate` is given, and
`runner` does all of it, so that it can be killed at any moment.
"""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
