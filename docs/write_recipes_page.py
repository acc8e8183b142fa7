"""Write docs/recipes.md from the recipe models: `python docs/write_recipes_page.py [--check]`."""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import BaseModel

from capwright.recipes import list_recipes
from capwright.recipes.schema import Recipe
from capwright.recipes.stages import RlStage, SftStage

PAGE = Path(__file__).with_name("recipes.md")
INTRODUCTION = """# Recipes

A recipe is one YAML file that says a whole run: model, data, rewards, stages, evaluation.

```
capwright train rsrs-scenes                                   # a recipe that comes along, by its bare name
capwright train mine.yaml stages.rsrs.steps=400 model.lora.r=8  # a file, with two values changed
capwright train rsrs-scenes --dry-run                         # print the plan, try the heaviest step, train nothing
```

* **Overrides** are `dotted.key=value`, the value in YAML. Stages are addressed by name. `data.path` takes the place of
  `data.scenes`, `steps` that of `epochs`, and the other way round.
* **`extends: other.yaml`** (or a bare name) starts from another recipe. Groups are merged key by key, a `stages` list
  takes the place of the other (a bare name in it stands for the other's stage of that name), and a dotted key at the
  top level changes one value: `stages.rsrs.steps: 400`.
* **Rewards** have short forms: `tts:` alone, or `tts: 0.5` for a weight. Where `only_if` and `overlong` name a
  quantity, it is `words` of the caption, its `tokens`, or `length_ratio`: its words over the mean words of the image's
  references, unknown without references.
* **Plugins**: `plugins: [own.py]` names files with scorers, advantages or data formats of your own, relative to the
  recipe; `path/to/file.py:Name` in place of a name needs no such entry. Their code is executed when the recipe is
  carried out, and `recipe.yaml` of the run keeps their digests ([plugins](guides/plugins.md)).
* Unknown keys are errors; the message names the nearest key there is.
* A run writes what it did, every key spelled out, to `recipe.yaml` in its folder. On resume a changed key is an error,
  except for those that do not change what is learned, but for rounding: `name`, `evaluation.*`, `data.path` (the data
  itself must be the same), `data.eval_*`, `model.device`, `model.cache.*`, `model.compile`,
  `model.gradient_checkpointing`, `checkpoint_every`, `eval_every`, `patience`, `micro_batch`, `micro_tokens`,
  `rollout_batch`, `max_failures`, `timeout`, and `plugins` that nothing is learned from.
* **Several processes** may take the steps of a run together: [several processes](guides/several-processes.md). A recipe
  does not say how many; `images_per_step` is for all of them together.
* What the methods behind the keys are: [RSRS](methods/rsrs.md), [the GRPO family](methods/grpo-family.md), [GDPO and
  several rewards](methods/gdpo.md), [CapRL](methods/caprl.md), [BalCapRL](methods/balcaprl.md).
"""


def page() -> str:
    """The whole page."""
    names = "\n".join(f"* `{name}`: {_purpose(path)}" for name, path in sorted(list_recipes().items()))
    tables = [*_tables(Recipe, ""), *_tables(SftStage, "stages.NAME."), *_tables(RlStage, "stages.NAME.")]
    keys = "\n\n".join(tables)
    return f"{INTRODUCTION}\n## Recipes that come along\n\n{names}\n\n{keys}\n"


def _purpose(path: Path) -> str:
    """The first sentence of the comment at the top of a recipe."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    return re.split(r"(?<=[.:])\s", " ".join(lines))[0].rstrip(":.")


def _tables(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """A table of a group of keys, then those of the groups in it."""
    titles = {Recipe: "Top level", SftStage: "`stages`, kind: sft", RlStage: "`stages`, kind: rl, grpo, rsrs"}
    rows, inner = [], []
    for name, field in model.model_fields.items():
        groups = _groups(field.annotation)
        if field.is_required():
            default = "required"
        else:
            value = field.get_default(call_default_factory=True)
            default = "see below" if isinstance(value, BaseModel) else f"`{_yaml(value)}`"
        rows.append(f"| `{prefix}{name}` | {_type(field.annotation)} | {default} | {field.description or ''} |")
        if len(groups) == 1:
            named = "NAME." if typing.get_origin(field.annotation) is dict else ""
            inner += _tables(groups[0], f"{prefix}{name}.{named}")
    title = titles.get(model, f"`{prefix[:-1]}`")
    about = re.sub(r"\s+", " ", (model.__doc__ or "").strip())
    yield "\n".join([f"## {title}", "", about, "", "| key | type | default | meaning |", "|---|---|---|---|", *rows])
    yield from inner


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("...").strip()


def _groups(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [group for inner in typing.get_args(annotation) for group in _groups(inner)]


def _type(annotation: object) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if _groups(annotation):
        return "list" if origin is list else "group"
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin is typing.Literal:
        return ", ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _type(a) for a in inner)
    return getattr(origin or annotation, "__name__", str(annotation))


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit(print("docs/recipes.md is out of date: run python docs/write_recipes_page.py") or 1)
