"""A tiny LLaVA in shards, one a CPU process: `python sharded_run.py OUT [resume] [die] KEY=VALUE ...`.

Accelerate shards only on accelerators, so the wrapping is done here, with the same function it uses there.
"""

from __future__ import annotations

import os
import signal
import sys

from torch.distributed.fsdp import fully_shard

from capwright.recipes import load_recipe
from capwright.runs import Progress, train
from capwright.training.distributed import Learner, ProcessGroup
from capwright.types import CapwrightError


def shard(processes: ProcessGroup, model) -> None:
    if processes.size == 1:
        return
    processes.sharded = True
    for module in model.modules():
        if type(module).__name__ in model._no_split_modules:
            fully_shard(module)
    processes.learner = fully_shard(Learner(model))


class DieAtStepFive(Progress):
    def step(self, row):
        if row["stage"] == "rsrs" and row["step"] == 5:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    ProcessGroup.wrap = shard
    recipe = load_recipe("rsrs-scenes", [argument for argument in sys.argv if "=" in argument])
    progress = DieAtStepFive() if "die" in sys.argv else Progress()
    try:
        train(recipe, out=sys.argv[1], resume="resume" in sys.argv, progress=progress)
    except CapwrightError as error:
        sys.exit(str(error))
