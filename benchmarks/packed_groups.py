"""Packed against repeated groups: one pass forward and backward, time and peak memory.

    python benchmarks/packed_groups.py [--quick] [--json FILE] [--device cpu]

Three ways to get the log-probabilities of G captions of P images from the same LLaVA:
  packed       captions of one image share image and prompt in one sequence (capwright)
  repeated     every caption has its own copy of image and prompt, through vision tower and language model (libraries)
  repeated-lm  images through the vision tower once, then a copy of the prefix for every caption (the best a library
               could do without packing)
`speedup` and `memory_ratio` are repeated over packed; `..._lm` are repeated-lm over packed. Each way runs in a process
of its own; the ways of one row take turns, so a slower moment of the machine hits all of them. Memory is the growth of
the peak resident set (on a GPU: of the peak allocation) over the model at rest.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from results_file import write_results

LAYOUTS = ("packed", "repeated", "repeated-lm")
PATCH = {64: (96, 12), 196: (196, 14), 576: (336, 14)}  # image tokens: (image size, patch)


def build(image_tokens: int, folder: str) -> None:
    """A LLaVA of random weights, 7 M parameters, written to `folder`."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
    import tiny_models

    tiny_models.write_llava(Path(folder), *PATCH[image_tokens], width=256, depth=6)


def measure(layout: str, folder: str, setting: dict, device: str, results) -> None:
    """Seconds of every repeat and the growth of peak memory in bytes, for one way."""
    import torch
    from PIL import Image

    from capwright.models import CaptionBatch, load_policy
    from capwright.types import Request, Sample

    torch.manual_seed(0)
    policy = load_policy(folder, device=device, train_vision=True, layout=layout.removesuffix("-lm"))
    if layout == "repeated-lm":
        policy.layout = "packed"
    images, captions, tokens = setting["images"], setting["group"], setting["tokens"]
    requests = [Request(Sample(str(i), Path(f"{i}.png"))) for i in range(images)]
    noise = [Image.effect_noise((336, 336), 80).convert("RGB") for _ in range(images)]
    said = torch.randint(10, 250, (images, captions, tokens), device=policy.device)
    mask = torch.ones_like(said, dtype=torch.bool)

    def step() -> None:
        prefixes = policy.encode(requests, noise)
        groups = CaptionBatch(prefixes, said, mask, [[] for _ in requests])
        if layout == "repeated-lm":
            rows = [i for i in range(images) for _ in range(captions)]
            flat = (images * captions, 1, tokens)
            groups = CaptionBatch(prefixes.select(rows), said.view(flat), mask.view(flat), [[] for _ in rows])
        policy.logprobs(groups).sum().backward()
        policy.model.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    rest = peak(device)
    seconds = []
    for turn in range(setting["repeats"] + 1):
        start = time.perf_counter()
        step()
        if turn:
            seconds.append(time.perf_counter() - start)
    results.put((seconds, peak(device) - rest))


def peak(device: str) -> int:
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(setting: dict, device: str) -> dict:
    context = multiprocessing.get_context("spawn")
    seconds: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
    memory: dict[str, list[int]] = {layout: [] for layout in LAYOUTS}
    with tempfile.TemporaryDirectory() as folder:
        build(setting["image_tokens"], folder)
        for _ in range(setting["rounds"]):
            for layout in LAYOUTS:
                results = context.Queue()
                process = context.Process(target=measure, args=(layout, folder, setting, device, results))
                process.start()
                times, growth = results.get()
                process.join()
                seconds[layout] += times
                memory[layout].append(growth)
    middle = {layout: statistics.median(values) for layout, values in seconds.items()}
    most = {layout: max(values) for layout, values in memory.items()}
    return {
        "benchmark": "packed_groups",
        "device": device,
        **{key: setting[key] for key in ("image_tokens", "group", "images", "tokens")},
        **{f"seconds_{layout.replace('-', '_')}": middle[layout] for layout in LAYOUTS},
        **{f"megabytes_{layout.replace('-', '_')}": most[layout] / 1e6 for layout in LAYOUTS},
        "speedup": middle["repeated"] / middle["packed"],
        "speedup_lm": middle["repeated-lm"] / middle["packed"],
        "memory_ratio": most["repeated"] / max(most["packed"], 1),
        "memory_ratio_lm": most["repeated-lm"] / max(most["packed"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="64 image tokens and G = 8 only, one round")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    shape = {"images": 2, "tokens": 24, "repeats": 1 if arguments.quick else 2, "rounds": 1 if arguments.quick else 2}
    rows = []
    titles = ("image tokens", "G", "packed", "repeated", "rep.-lm", "speedup", "(lm)", "memory")
    print("{:>12} {:>3} {:>9} {:>9} {:>9} {:>8} {:>6} {:>7}".format(*titles))
    for image_tokens in (64,) if arguments.quick else (64, 196, 576):
        for group in (8,) if arguments.quick else (8, 16):
            row = run({"image_tokens": image_tokens, "group": group, **shape}, arguments.device)
            rows.append(row)
            print(
                f"{image_tokens:>12} {group:>3} {row['seconds_packed']:>8.3f}s {row['seconds_repeated']:>8.3f}s "
                f"{row['seconds_repeated_lm']:>8.3f}s {row['speedup']:>7.2f}x {row['speedup_lm']:>5.2f}x "
                f"{row['memory_ratio']:>6.2f}x",
                flush=True,
            )
    if arguments.json:
        write_results(arguments.json, rows)


if __name__ == "__main__":
    main()
