"""From a name or a folder to a policy: weights, processor, LoRA, what trains, and the layout self-check."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from capwright.console import first_line
from capwright.models.policy import HFPolicy
from capwright.models.processor import DEFAULT_PROMPT, SETTINGS, PromptProcessor, load_processor
from capwright.models.remote_code import code_refused
from capwright.models.selfcheck import packing_error, packing_tolerance
from capwright.types import ModelError, Request, Sample

log = logging.getLogger("capwright")

EMBEDDED = Path(__file__).parent / "embedded"
ATTENTION = {"auto": None, "sdpa": "sdpa", "eager": "eager", "flex": "flex_attention"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: Their prompts are read in both directions, with an attention mask of their own that is not made for flex.
LOOK_AHEAD = ("gemma3", "paligemma")
_ALLOW = "set trust_remote_code (model.trust_remote_code=true in a recipe, --trust-remote-code)"
VISION_TOWERS = ("vision_tower", "visual", "vision_model", "vision_encoder")


@dataclass(frozen=True)
class LoadOptions:
    """How `load_policy` loads a captioner.

    Attributes:
        dtype: "float32", "bfloat16" or "float16": how weights are held.
        device: "cpu", "cuda", "cuda:1", ...; None takes a GPU where there is one.
        lora: {"r", "alpha", "dropout", "targets"}; only the adapter trains then.
        prompt: the instruction for requests that bring none; None or "" keeps the one the model was saved with.
        max_pixels: larger images are scaled down before the processor sees them.
        train_vision: train the vision tower too; otherwise only projector and language model train.
        gradient_checkpointing: recompute activations in the backward pass instead of keeping them.
        layout: "auto" checks once whether the packed layout is exact for this model and falls back to the repeated one
            where it is not; "packed" and "repeated" skip the check.
        attention: how attention is computed: "sdpa", "eager", or "flex" (on a GPU only; not measured by us yet). "auto"
            leaves it to the model.
        merge: of an adapter, add it to the weights it was trained on. What comes out is a plain model of full size:
            `load_policy("run/last", merge=True).save("merged")` writes one that needs neither PEFT nor its base.
        trust_remote_code: execute Python code that the model's folder brings, with all rights of this process. Off,
            such a model is refused.
    """

    dtype: str = "float32"
    device: str | None = None
    lora: Mapping[str, Any] | None = None
    prompt: str | None = None
    max_pixels: int | None = None
    train_vision: bool = False
    gradient_checkpointing: bool = False
    layout: str = "auto"
    attention: str = "auto"
    merge: bool = False
    trust_remote_code: bool = False


def load_policy(name: str | Path, options: LoadOptions | None = None, **changes: Any) -> HFPolicy:
    """Loads a captioner.

    Args:
        name: "embedded" (the built-in captioner), a folder, a capwright checkpoint, or a model id of the hub.
        options: see `LoadOptions`.
        changes: the same by name: `load_policy("embedded", device="cpu")`.
    Raises:
        ModelError: the model is not found, not an image-text-to-text model, its processor lacks a package, or the
            model cannot do this kind of attention.
        TypeError: there is no such option.
    """
    options = replace(options or LoadOptions(), **changes)
    folder = EMBEDDED if str(name) == "embedded" else name
    saved = _read_json(Path(folder) / SETTINGS)
    adapter = _read_json(Path(folder) / "adapter_config.json")
    base = adapter.get("base_model_name_or_path") or folder
    if str(base) == "embedded":
        base = EMBEDDED
    model = _load_model(base, options)
    if adapter and options.lora:
        raise ModelError(f"{name}: is an adapter already; leave model.lora out to go on with it")
    if adapter:
        model = _load_adapter(model, folder, options.merge)
    elif options.lora:
        model = _add_lora(model, options.lora, str(name))
    if not options.train_vision and not hasattr(model, "peft_config"):
        for path, module in model.named_modules():
            if path.rpartition(".")[2] in VISION_TOWERS:
                module.requires_grad_(False)
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if hasattr(model, "enable_input_require_grads"):
            model.enable_input_require_grads()
    processor = load_processor(base, model.config.model_type, options.trust_remote_code)
    prompt = options.prompt or saved.get("prompt", DEFAULT_PROMPT)
    prompt_processor = PromptProcessor(processor, prompt, options.max_pixels or saved.get("max_pixels"))
    if not prompt_processor.has_template and not saved:
        log.warning(
            "%s: has no chat template (chat_template.jinja, or in tokenizer_config.json): the model reads the bare "
            "prompt, without roles. One that was trained to chat needs that file: copy it from where the model is from",
            name,
        )
    policy = HFPolicy(model, prompt_processor, options.layout)
    if options.layout == "auto":
        policy.layout = "packed"
        if problem := _packing_problem(policy):
            log.warning("%s: %s; using the repeated layout, which is exact and slower", name, problem)
            policy.layout = "repeated"
    return policy


def _read_json(path: Path) -> dict[str, Any]:
    """The contents of a small JSON file; {} where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read: {error}; copy the model again") from error


def _check_size(config: Any, folder: Path) -> None:
    """Raises ModelError where config.json describes far more weights than there are: memory would be taken for them."""
    held = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if not held:
        return
    with torch.device("meta"):
        described = sum(each.numel() for each in AutoModelForImageTextToText.from_config(config).parameters())
    if described > 4 * held:  # the smallest formats hold two weights a byte
        numbers = f"config.json describes {described:,} weights, but the files of weights hold {held:,} bytes"
        raise ModelError(f"model {str(folder)!r} cannot be loaded: {numbers}; copy it again")


def _load_model(name: str | Path, options: LoadOptions) -> Any:
    dtype, attention = options.dtype, options.attention
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r}: use one of {', '.join(DTYPES)}")
    if attention not in ATTENTION:
        raise ModelError(f"attention {attention!r}: use one of {', '.join(ATTENTION)}")
    kind = {"attn_implementation": ATTENTION[attention]} if ATTENTION[attention] else {}
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if attention == "flex" and str(device) == "cpu":
        raise ModelError("attention 'flex' needs a GPU; on the CPU use 'sdpa'")
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=options.trust_remote_code)
        if attention == "flex" and config.model_type in LOOK_AHEAD:
            raise ModelError(f"model {str(name)!r} ({config.model_type}) cannot do attention 'flex'; use 'sdpa'")
        trust = options.trust_remote_code
        if not trust:
            _check_size(config, Path(name))
        model = AutoModelForImageTextToText.from_pretrained(
            name, config=config, dtype=DTYPES[dtype], trust_remote_code=trust, **kind
        )
    except ModelError:
        raise
    except Exception as error:  # every library below has errors of its own for a broken file
        if code := code_refused(error, _ALLOW):
            raise ModelError(f"model {str(name)!r} cannot be loaded: {code}") from error
        if kind and "attention" in str(error):
            raise ModelError(
                f"model {str(name)!r} cannot do attention {attention!r}; use 'auto': {first_line(error)}"
            ) from error
        hint = "" if Path(name).exists() else " (there is no such folder here; is the hub reachable, and the id right?)"
        raise ModelError(f"model {str(name)!r} cannot be loaded{hint}: {first_line(error)}") from error
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} cannot be used: {error}") from error


def _load_adapter(model: Any, folder: str | Path, merge: bool) -> Any:
    from peft import PeftModel

    try:
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=True)
        return adapted.merge_and_unload().requires_grad_(True) if merge else adapted
    except Exception as error:  # see _load_model
        raise ModelError(f"adapter {str(folder)!r} cannot be loaded: {first_line(error)}") from error


def _add_lora(model: Any, lora: Mapping[str, Any], name: str) -> Any:
    from peft import LoraConfig, get_peft_model

    targets = lora.get("targets") or r".*(language_model|text_model)\.layers\..*\.(q|k|v|o|gate|up|down)_proj"
    config = LoraConfig(
        r=int(lora.get("r", 16)),
        lora_alpha=float(lora.get("alpha", 2 * int(lora.get("r", 16)))),
        lora_dropout=float(lora.get("dropout", 0.0)),
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    try:
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(f"model {name!r}: model.lora.targets fits none of its modules: {error}") from error
    wrapped.peft_config["default"].base_model_name_or_path = str(Path(name).resolve()) if Path(name).exists() else name
    return wrapped


def _packing_problem(policy: HFPolicy) -> str:
    """Why the packed layout does not hold for a model; "" where it does."""
    if _has_windows(policy.inner.config.get_text_config()):  # longer than the captions of the self-check
        return "some layers see only a window of the past"
    try:
        error = packing_error(policy, Request(Sample("self-check", Path("self-check"))))
    except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as problem:
        return f"the packed layout does not run ({problem})"
    if error > packing_tolerance(policy):
        return f"packed and repeated log-probabilities differ by {error:.2g} nats (bidirectional attention?)"
    return ""


def _has_windows(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(config, "sliding_window", None) is not None
