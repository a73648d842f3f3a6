"""An lqsep plugin: the prior ``sticky``, which stays on its code with probability p."""

import math
from collections.abc import Iterable

from pydantic import Field

from lqsep import CommandSpec, ComponentConfig, ComponentSpec, Kind, hookimpl


class StickyConfig(ComponentConfig):
    type: str = "sticky"
    stay: float = Field(default=0.5, gt=0, lt=1, description="Probability of staying on a code")


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    yield ComponentSpec(
        kind=Kind.PRIOR,
        name="sticky",
        config=StickyConfig,
        factory="lqsep_sticky:build_prior",
        summary="Stays on its code with a fixed probability, else any code",
        api_version=1,
    )


@hookimpl
def lqsep_commands() -> Iterable[CommandSpec]:
    yield CommandSpec(
        path="sticky",
        target="lqsep_sticky_command:sticky",
        summary="Tell how long the prior sticky stays on a code.",
    )


def build_prior(config, context):
    # Imported here, not above: declaring a plugin must not load torch.
    import torch

    from lqsep import Prior, PriorInfo

    class StickyPrior(Prior):
        def __init__(self, codebook_size: int, stay: float, device: torch.device) -> None:
            self.info = PriorInfo(codebook_size)
            self.device = device
            self._stay = stay

        def start(self, n_rows, prompt=None):
            last = None if prompt is None or prompt.shape[1] == 0 else prompt[:, -1]
            return n_rows, last

        def step(self, state, codes):
            n_rows, last = state
            last = last if codes is None else codes
            size = self.info.codebook_size
            if last is None:
                table = torch.full((n_rows, size), -math.log(size), device=self.device)
            else:
                moved = (1 - self._stay) / size
                table = torch.full((n_rows, size), math.log(moved), device=self.device)
                table.scatter_(1, last[:, None], math.log(self._stay + moved))
            return table, (n_rows, last)

        def select(self, state, rows):
            _, last = state
            return len(rows), None if last is None else last[rows]

    source = context.sources.index(context.source)
    return StickyPrior(context.codec.codebook_size(source), config.stay, context.device)
