"""capwright caption: what a captioner says of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capwright.cli._errors import resumable
from capwright.cli._options import PluginOption
from capwright.console import counting, say
from capwright.types import DataError, SamplingParams

if TYPE_CHECKING:
    from capwright.captioning.captioners import Captioner


def caption(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGES|FOLDER|JSONL...",
            help="Images, folders of images, dataset folders, or .jsonl files with rows of id and image.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="'embedded', a folder such as runs/demo/checkpoints/rsrs, a model id of the hub, or a captioner of a "
            "plugin."
        ),
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
    guidance: Annotated[
        float, typer.Option(min=0.0, help="Influence of the image times this; above 1 captions name more particulars.")
    ] = 1.0,
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="A plugin's decoding strategy: how the next word is chosen.")
    ] = "",
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Execute code that the model's folder brings, with all your rights."),
    ] = False,
    plugin: PluginOption = None,
) -> None:
    """Caption images into a .jsonl file.

    It gets one row an image, which also says model, prompt, max_tokens and max_pixels. Run it again to go on after an
    interruption: captions that are there are kept; other settings need another file. An image that cannot be read
    gets a row with the status missing_image and the reason, and does not stop the others.
    """
    from capwright.captioning.caption_files import UNNAMED, caption_file, same_origin, tell
    from capwright.captioning.captioners import is_plugin
    from capwright.captioning.image_sources import find_images

    if out in sources:
        raise DataError(f"{out}: is what to caption and what to write; choose another --out")
    samples = find_images(sources, split)[:n]
    origin: dict[str, Any] = {"max_tokens": max_tokens, "guidance": guidance, "strategy": strategy}
    if not is_plugin(model):  # a captioner of a plugin says itself which model it is
        origin = {"model": model, **origin}
    same_origin(out, origin)  # loading takes a while
    with resumable("run the same command again to go on"), counting("captions") as progress:
        trust = {"trust_remote_code": True} if trust_remote_code else {}  # captioners of plugins may not know it
        captioner = _load(model, dtype=dtype, device=device, max_pixels=max_pixels, prompt=prompt, **trust)
        origin = {"model": model, **origin, **captioner.description}
        same_origin(out, origin)
        tally = caption_file(
            captioner,
            samples,
            out,
            SamplingParams(temperature=0.0, max_tokens=max_tokens, guidance=guidance, strategy=strategy),
            batch_size=batch_size,
            extra={key: value for key, value in origin.items() if (key, value) not in UNNAMED.items()},
            with_image=True,
            progress=progress,
        )
    for line in tell(tally, out):
        say(line)


def _load(model: str, **options: Any) -> Captioner:
    from capwright.cli._quiet import quiet_libraries

    say(f"loading {model}")  # without a network, the hub is asked for half a minute
    quiet_libraries()
    from capwright.captioning.captioners import load_captioner

    return load_captioner(model, **options)
