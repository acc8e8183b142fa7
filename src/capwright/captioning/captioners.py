"""What writes captions, whatever it is: a protocol, and the captioner behind it that runs on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from capwright.types import Caption, Request, SamplingParams

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


def load_captioner(name: str | Path, **options: Any) -> Captioner:
    """The captioner of a name.

    Args:
        name: "embedded", a folder, a capwright checkpoint, or a model id of the hub: what `load_policy` loads.
        options: those of `load_policy` (`prompt`, `device`, `dtype`, `max_pixels`, ...).
    Raises:
        ModelError: there is no such captioner, or it cannot be used; names it and says what would help.
    """
    from capwright.models import load_policy

    return PolicyCaptioner(load_policy(name, **options), str(name))
