"""capwright caption: what a captioner says of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capwright.cli._errors import resumable
from capwright.cli._options import PluginOption
from capwright.console import counting, say
from capwright.types import DataError, SamplingParams

if TYPE_CHECKING:
    from capwright.models import HFPolicy


def caption(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGES|FOLDER|JSONL...",
            help="Images, folders of images, dataset folders, or .jsonl files with rows of id and image.",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="'embedded', a folder such as runs/demo/checkpoints/rsrs, or a model id of the hub.")
    ],
    out: Annotated[Path, typer.Option(help="The caption file to write or to go on with (.jsonl).")],
    prompt: Annotated[str, typer.Option(help="The instruction; by default the one the model was saved with.")] = "",
    batch_size: Annotated[int, typer.Option(min=1, help="Images captioned at once.")] = 16,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longer captions are cut off (finish: length).")] = 64,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Bigger images are scaled down to this.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default the best there is.")] = None,
    dtype: Annotated[str, typer.Option(help="Type of the weights: float32, bfloat16 or float16.")] = "float32",
    split: Annotated[str | None, typer.Option(help="Of a dataset: caption this split only.")] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Caption only the first so many images.")] = None,
    plugin: PluginOption = None,
) -> None:
    """Caption images into a .jsonl file.

    It gets one row an image, which also says model, prompt, max_tokens and max_pixels. Run it again to go on after an
    interruption: captions that are there are kept; other settings need another file. An image that cannot be read
    gets a row with the status missing_image and the reason, and does not stop the others.
    """
    from capwright.captioning.caption_files import caption_file, same_origin, tell
    from capwright.captioning.image_sources import find_images

    if out in sources:
        raise DataError(f"{out}: is what to caption and what to write; choose another --out")
    samples = find_images(sources, split)[:n]
    origin = {"model": model, "max_tokens": max_tokens}
    same_origin(out, origin)  # loading takes a while
    with resumable("run the same command again to go on"), counting("captions") as progress:
        policy = _load(model, dtype, device, max_pixels)
        prompt_processor = policy.prompt_processor
        origin |= {"prompt": prompt or prompt_processor.prompt, "max_pixels": prompt_processor.max_pixels}
        same_origin(out, origin)
        tally = caption_file(
            policy,
            samples,
            out,
            SamplingParams(temperature=0.0, max_tokens=max_tokens),
            prompt=prompt,
            batch_size=batch_size,
            extra=origin,
            with_image=True,
            progress=progress,
        )
    for line in tell(tally, out):
        say(line)


def _load(model: str, dtype: str, device: str | None, max_pixels: int | None) -> HFPolicy:
    from capwright.cli._quiet import quiet_libraries

    say(f"loading {model}")  # without a network, the hub is asked for half a minute
    quiet_libraries()
    from capwright.models import load_policy

    return load_policy(model, dtype=dtype, device=device, max_pixels=max_pixels)
