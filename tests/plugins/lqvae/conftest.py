"""The small model whose outputs were recorded from the reference implementation."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from lqsep.plugins.jukebox.codec_names import from_reference
from lqsep.plugins.lqvae.model import LQVAE


@pytest.fixture(scope="session")
def reference_state(golden) -> Mapping[str, Tensor]:
    """Tensors of the recorded model under the reference's names."""
    return torch.load(golden.path("lqvae.pth.tar"), weights_only=True, map_location="cpu")["model"]


@pytest.fixture
def golden_model(reference_state) -> Callable[[], LQVAE]:
    """Builds the recorded model, in evaluation mode."""

    def build() -> LQVAE:
        model = LQVAE(embedding_dim=16, codebook_size=64, width=8, depth=2)
        model.load_state_dict(from_reference(reference_state))
        return model.eval()

    return build
