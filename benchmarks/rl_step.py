"""One step of reinforcement learning, capwright's Trainer against TRL's GRPOTrainer: time, memory, image processing.

    python benchmarks/rl_step.py [--quick] [--json FILE] [--device cpu]

The same LLaVA of random weights on both sides, the same image files, captions of the same length (none can end early),
the same reward, AdamW, float32, one update a step, no KL, all weights trained. TRL gets its best settings: one
micro-batch, no checkpointing, no logging of captions, paths instead of images. Phases of a step:
  sampling  from image files to captions: reading, processing, vision tower, decoding
  scoring   rewards
  learning  the rest: log-probabilities, gradients, update (and TRL's second processing of every image)
`speedup` is TRL over capwright, so is `memory_ratio`: the growth of the peak resident set (on a GPU: of the peak
allocation) over the trainer before its first step. `processed` counts images through the image processor in one step.
Each side runs in a process of its own; they take turns. Its fastest step after the first counts, with all its phases:
what else runs on the machine only ever makes a step slower.

With --device cuda the model has the size of Qwen2.5-VL-3B (random weights, bfloat16, gradient checkpointing on both
sides) and needs a GPU of 64 GB and 10 GB of disk; where there is no such GPU the script says so and stops.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results_file import write_results

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))

SIDES = ("capwright", "trl")
PHASES = ("total", "sampling", "scoring", "learning")
LLAVA = {64: (96, 12), 196: (196, 14), 576: (336, 14)}  # image tokens: (image size, patch)
QWEN = {64: 224, 196: 392, 576: 672}  # image tokens: image size, 28 pixels a token
GPU_BYTES = 64e9
PROMPT = "describe this"


class Clock:
    """Seconds by phase and images processed, step by step."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.steps: list[Counter[str]] = []
        self.now = Counter[str]()
        self.start = 0.0

    def time(self) -> float:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()

    def begin(self) -> None:
        self.now, self.start = Counter(), self.time()

    def end(self) -> None:
        self.now["total"] = self.time() - self.start
        self.now["learning"] = self.now["total"] - self.now["sampling"] - self.now["scoring"]
        self.steps.append(self.now)

    def wrap(self, owner: Any, name: str, phase: str) -> None:
        """Count the time of a method into a phase."""
        setattr(owner, name, self.wrapped(getattr(owner, name), phase))

    def wrapped(self, inner: Callable, phase: str) -> Callable:
        def call(*args: Any, **named: Any) -> Any:
            start = self.time()
            try:
                return inner(*args, **named)
            finally:
                self.now[phase] += self.time() - start

        return call

    def count_images(self, processor: Any) -> None:
        """Count what goes through the image processor."""
        kind, inner = type(processor), type(processor).preprocess

        def preprocess(processor: Any, images: Any, *args: Any, **named: Any) -> Any:
            self.now["processed"] += leaves(images)
            return inner(processor, images, *args, **named)

        kind.preprocess = preprocess


def leaves(images: Any) -> int:
    return sum(map(leaves, images)) if isinstance(images, (list, tuple)) else 1


def reward(tokens: tuple[int, ...]) -> float:
    """Cheap, and different for most captions, so that every group teaches something."""
    return sum(tokens) % 97 / 97


def make_samples(folder: Path, setting: dict) -> list:
    """A new image for every place of every step: neither side sees one twice."""
    from PIL import Image

    from capwright.types import Sample

    folder.mkdir(exist_ok=True)
    found = []
    for i in range(setting["images"] * (setting["steps"] + 1)):
        path = folder / f"{i}.png"
        if not path.exists():
            size = QWEN[setting["image_tokens"]] if setting["qwen"] else 336
            Image.effect_noise((size, size), 80).convert("RGB").save(path)
        found.append(Sample(f"s{i}", path))
    return found


# the two sides ------------------------------------------------------------------------------------------------------


def run_capwright(model: str, samples: list, setting: dict, device: str, clock: Clock) -> Callable[[], None]:
    import torch
    from accelerate import Accelerator

    from capwright.data import load_image
    from capwright.models import load_policy
    from capwright.recipes.stages import RlStage
    from capwright.training.distributed import ProcessGroup
    from capwright.training.rewards import Rewards
    from capwright.training.rollout import TrainingSetup
    from capwright.training.trainer import Trainer

    class View:
        def __call__(self, samples: Any, captions: Any) -> Any:
            self.values = [[reward(caption.tokens) for caption in group] for group in captions]
            return self

    policy = load_policy(
        model, device=device, dtype=setting["dtype"], train_vision=True, layout="packed", prompt=PROMPT,
        gradient_checkpointing=setting["qwen"],
    )  # fmt: skip
    policy.eos_ids = torch.tensor([-1])  # no token ends a caption
    stage = RlStage(
        name="bench", kind="grpo", steps=setting["steps"] + 1, images_per_step=setting["images"],
        captions_per_image=setting["group"], sampling={"max_tokens": setting["tokens"]}, learning_rate=1e-5,
    )  # fmt: skip
    rewards = Rewards({"cheap": clock.wrapped(View(), "scoring")}, (1.0,), (True,), (0.0,))
    opened = clock.wrapped(load_image, "sampling")
    trainer = Trainer(
        TrainingSetup(policy, samples, "bench", rewards, opened), stage, 0,
        ProcessGroup(Accelerator(cpu=device == "cpu")),
    )  # fmt: skip
    clock.wrap(policy, "encode", "sampling")
    clock.wrap(policy, "sample", "sampling")
    clock.count_images(policy.prompt_processor.processor.image_processor)

    def go() -> None:
        for _ in range(stage.steps):
            clock.begin()
            row = trainer.step()
            clock.end()
            assert row["groups"]["live"] == setting["images"], row

    return go


def run_trl(model: str, samples: list, setting: dict, device: str, clock: Clock) -> Callable[[], None]:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from capwright.models.processor import load_processor
    from capwright.training.trl import dataset

    class Watch(TrainerCallback):
        def on_step_begin(self, *args: Any, **named: Any) -> None:
            clock.begin()

        def on_step_end(self, *args: Any, **named: Any) -> None:
            clock.end()

    def cheap(completion_ids: list[list[int]], **columns: Any) -> list[float]:
        assert {len(ids) for ids in completion_ids} == {setting["tokens"]}
        return [reward(tuple(ids)) for ids in completion_ids]

    processor = load_processor(model, AutoConfig.from_pretrained(model).model_type)
    rows = setting["images"] * setting["group"]
    config = GRPOConfig(
        output_dir=str(Path(model) / "out"), use_cpu=device == "cpu", bf16=False,
        gradient_checkpointing=setting["qwen"], per_device_train_batch_size=rows, num_generations=setting["group"],
        max_completion_length=setting["tokens"], generation_kwargs={"min_new_tokens": setting["tokens"]},
        max_steps=setting["steps"] + 1, learning_rate=1e-5, lr_scheduler_type="constant", loss_type="dapo",
        report_to=[], save_strategy="no", logging_steps=10**6, disable_tqdm=True, log_completions=False,
        log_multimodal=False,
    )  # fmt: skip
    weights = AutoModelForImageTextToText.from_pretrained(model, dtype=getattr(torch, setting["dtype"]))
    trainer = GRPOTrainer(
        weights, [cheap], config, dataset(samples, PROMPT), processing_class=processor, callbacks=[Watch()]
    )
    trainer.remove_callback(PrinterCallback)
    clock.wrap(trainer, "_generate", "sampling")
    clock.wrap(trainer, "_calculate_rewards", "scoring")
    clock.count_images(processor.image_processor)
    return trainer.train


def measure(side: str, model: str, setting: dict, device: str, results: Any) -> None:
    """The phases of every step but the first, and the growth of peak memory in bytes, for one side."""
    import torch

    be_quiet()
    torch.manual_seed(0)
    clock = Clock(device)
    samples = make_samples(Path(model) / f"images-{setting['image_tokens']}", setting)
    make = run_capwright if side == "capwright" else run_trl
    go = make(model, samples, setting, device, clock)
    rest = peak(device)
    go()
    results.put((clock.steps[1:], peak(device) - rest))


def be_quiet() -> None:
    """No progress bars, no advice on settings that we chose, no report of TRL's to the hub."""
    import warnings

    from huggingface_hub import constants
    from transformers.utils import logging

    constants.HF_HUB_DISABLE_TELEMETRY = True

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")


def peak(device: str) -> int:
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# models -------------------------------------------------------------------------------------------------------------


def build_llava(image_tokens: int, folder: Path) -> None:
    """A LLaVA of random weights, 7 M parameters."""
    import tiny_models

    tiny_models.write_llava(folder, *LLAVA[image_tokens], width=256, depth=6)


def build_qwen(folder: Path) -> None:
    """Random weights in the sizes of Qwen2.5-VL-3B-Instruct's config.json; a small tokenizer, the full vocabulary."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    import tiny_models

    _, ids = tiny_models.write_qwen_processor(folder)
    settings = folder / "preprocessor_config.json"
    known = json.loads(settings.read_text(encoding="utf-8"))
    known["size"] = {"shortest_edge": 28 * 28, "longest_edge": 1280 * 28 * 28}
    settings.write_text(json.dumps(known), encoding="utf-8")
    text = dict(
        vocab_size=151936, hidden_size=2048, intermediate_size=11008, num_hidden_layers=36, num_attention_heads=16,
        num_key_value_heads=2, max_position_embeddings=128000, rms_norm_eps=1e-6, rope_theta=1e6,
        tie_word_embeddings=True, rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    vision = dict(
        depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, out_hidden_size=2048, patch_size=14,
        spatial_merge_size=2, window_size=112, fullatt_block_indexes=[7, 15, 23, 31], hidden_act="silu",
    )  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, 2
    model.save_pretrained(folder)
    del model
    torch.cuda.empty_cache()


# the table ----------------------------------------------------------------------------------------------------------


def run(model: Path, setting: dict, device: str) -> list[dict]:
    """One record a phase."""
    context = multiprocessing.get_context("spawn")
    steps: dict[str, list[Counter[str]]] = {side: [] for side in SIDES}
    memory: dict[str, int] = dict.fromkeys(SIDES, 0)
    for _ in range(setting["rounds"]):
        for side in SIDES:
            results = context.Queue()
            process = context.Process(target=measure, args=(side, str(model), setting, device, results))
            process.start()
            found, growth = answer(process, results, side)
            process.join()
            steps[side] += found
            memory[side] = max(memory[side], growth)
    shared = {
        "benchmark": "rl_step",
        "device": device,
        "model": "qwen2.5-vl-3b" if setting["qwen"] else "llava-7m",
        **{key: setting[key] for key in ("image_tokens", "group", "images", "tokens")},
        **{f"megabytes_{side}": memory[side] / 1e6 for side in SIDES},
        "memory_ratio": memory["trl"] / max(memory["capwright"], 1),
        **{f"processed_{side}": steps[side][-1]["processed"] for side in SIDES},
    }
    best = {side: min(steps[side], key=lambda step: step["total"]) for side in SIDES}
    records = []
    for phase in PHASES:
        ours, theirs = (best[side][phase] for side in SIDES)
        records.append(
            shared
            | {
                "phase": phase,
                "seconds_capwright": ours,
                "seconds_trl": theirs,
                "speedup": theirs / max(ours, 1e-9),
            }
        )
    return records


def answer(process: Any, results: Any, side: str) -> tuple[list[Counter[str]], int]:
    """What the process found; a process that died says so at once instead of leaving us waiting."""
    import queue

    while True:
        try:
            return results.get(timeout=1)
        except queue.Empty:
            if not process.is_alive():
                sys.exit(f"{side} stopped with status {process.exitcode}; its error is above")


def show(records: list[dict]) -> None:
    row = records[0]
    for record in records:
        first = record["phase"] == "total"
        left = f"{row['image_tokens']:>12} {row['group']:>3}" if first else " " * 16
        right = ""
        if first:
            counts = f"{row['processed_capwright']} / {row['processed_trl']}"
            right = f"{row['memory_ratio']:>7.2f}x {counts:>9}"
        print(
            f"{left} {record['phase']:>9} {record['seconds_capwright']:>9.3f}s {record['seconds_trl']:>9.3f}s "
            f"{record['speedup']:>7.2f}x {right}",
            flush=True,
        )


def missing(device: str) -> str | None:
    """Why this cannot run here, or None."""
    if importlib.util.find_spec("trl") is None:
        return "needs TRL: pip install 'capwright[trl]' (Python 3.11 or newer)"
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return "--device cuda needs a GPU of 64 GB: there is none"
        if (found := torch.cuda.get_device_properties(0).total_memory) < GPU_BYTES:
            return f"--device cuda needs a GPU of 64 GB: this one has {found / 1e9:.0f}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="64 image tokens and G = 8 only, one round")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    if why := missing(arguments.device):
        print(f"rl_step: {why}")
        return
    qwen = arguments.device == "cuda"
    amount = {"rounds": 1, "steps": 1} if arguments.quick else {"rounds": 2, "steps": 2}
    shape = {"images": 2, "tokens": 24, "qwen": qwen, "dtype": "bfloat16" if qwen else "float32", **amount}
    be_quiet()
    records: list[dict] = []
    titles = ("image tokens", "G", "phase", "capwright", "TRL", "speedup", "memory", "processed")
    print("{:>12} {:>3} {:>9} {:>10} {:>10} {:>8} {:>8} {:>9}".format(*titles))
    with tempfile.TemporaryDirectory() as folder:
        if qwen:
            build_qwen(Path(folder))
        for image_tokens in (64,) if arguments.quick else (64, 196, 576):
            model = Path(folder) if qwen else Path(folder) / str(image_tokens)
            if not qwen:
                build_llava(image_tokens, model)
            for group in (8,) if arguments.quick else (8, 16):
                found = run(model, {"image_tokens": image_tokens, "group": group, **shape}, arguments.device)
                show(found)
                records += found
    if arguments.json:
        write_results(arguments.json, records, peers=["trl"])


if __name__ == "__main__":
    main()
