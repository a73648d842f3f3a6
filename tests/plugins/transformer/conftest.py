"""Small transformers whose predictions are far from uniform, so that a wrong one shows."""

from collections.abc import Callable

import pytest
import torch

from lqsep.plugins.transformer.model import TransformerModel


@pytest.fixture
def make_model() -> Callable[..., TransformerModel]:
    """Builds a model of 11 codes with loud random weights, the same at every call."""

    def make(attention: str = "factored", depth: int = 4, **changes: object) -> TransformerModel:
        generator = torch.Generator().manual_seed(0)
        sizes: dict[str, object] = {"width": 16, "heads": 2, "max_frames": 24, "m_attn": 0.5}
        sizes |= {"blocks": 6 if attention == "factored" else 1} | changes
        codebook = torch.randn(11, 5, generator=generator)
        model = TransformerModel(codebook, depth=depth, attention=attention, **sizes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.4, generator=generator)
        return model.eval()

    return make
