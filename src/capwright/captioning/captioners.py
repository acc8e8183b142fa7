"""What writes captions, whatever it is: a protocol, and the captioner behind it that runs on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from capwright import plugins
from capwright.types import Caption, CapwrightError, ModelError, Request, SamplingParams

if TYPE_CHECKING:
    from capwright.models import HFPolicy


class Captioner(Protocol):
    """Writes captions of images."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What writes them, as JSON values ("model", "prompt", ...): what two files of captions must have in common to
        be one. `capwright caption` writes it into every row."""
        ...

    def caption(self, requests: Sequence[Request], params: SamplingParams, n: int = 1) -> list[list[Caption]]:
        """`n` captions a request, in the order of the requests. A request without a prompt means the captioner's own.

        Raises:
            ImageError: an image cannot be read. ModelError: it, or the request, is not accepted. After either of them
                the requests are made again one by one, so that one image costs no other its caption.
        """
        ...


@dataclass(frozen=True)
class PolicyCaptioner:
    """A policy as a captioner.

    Attributes:
        policy: what writes.
        name: what it was loaded by.
    """

    policy: HFPolicy
    name: str = ""

    @property
    def description(self) -> Mapping[str, Any]:
        processor = self.policy.prompt_processor
        return {"model": self.name, "prompt": processor.prompt, "max_pixels": processor.max_pixels}

    def caption(self, requests: Sequence[Request], params: SamplingParams, n: int = 1) -> list[list[Caption]]:
        return self.policy.caption(requests, params, n)


def is_plugin(name: str | Path) -> bool:
    """Whether a plugin brings the captioner of a name. A file or folder of that name comes first."""
    return plugins.knows("captioner", str(name)) and not Path(name).exists()


def load_captioner(name: str | Path, **options: Any) -> Captioner:
    """The captioner of a name.

    Args:
        name: of a plugin's captioner, `module:Name` or `path/to/file.py:Name` of one; or else "embedded", a folder, a
            capwright checkpoint, or a model id of the hub: what `load_policy` loads.
        options: those of `load_policy` (`prompt`, `device`, `dtype`, `max_pixels`, ...); what a plugin registered is
            called with them.
    Raises:
        ModelError: there is no such captioner, or it cannot be used; names it and says what would help.
    """
    if is_plugin(name):
        return _of_plugin(str(name), options)
    from capwright.models import load_policy

    return PolicyCaptioner(load_policy(name, **options), str(name))


def _of_plugin(name: str, options: Mapping[str, Any]) -> Captioner:
    make = plugins.resolve("captioner", name, {"embedded": PolicyCaptioner}, ModelError)
    try:
        made = make(**options)
    except CapwrightError:
        raise
    except Exception as error:
        raise ModelError(f"captioner {name}: cannot be made with {dict(options)}: {plugins.describe(error)}") from error
    if not (hasattr(made, "caption") and hasattr(made, "description")):
        raise ModelError(
            f"captioner {name}: gives a {type(made).__name__} and no captioner; it needs `caption` and `description`"
        )
    return made
