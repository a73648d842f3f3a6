"""The sound of the reference's greedy run: its codes through our decoder."""

import pytest
import torch

from lqsep.plugins.lqvae.codec import LQVAECodec


@pytest.mark.parametrize("source", [0, 1])
def test_stems_of_the_greedy_run(golden, golden_model, source):
    recorded = golden.npz("greedy")
    codes = torch.from_numpy(recorded[f"x_{source}"]).long()
    audio = torch.from_numpy(recorded[f"audio_{source}"])
    with torch.no_grad():
        wave = LQVAECodec(golden_model(), sample_rate=22050).decode(codes, audio.shape[-1], source)
    # Convolutions sum up to a few hundred float32 products in an order of the library's choice;
    # the two stems differ by a tenth and more.
    torch.testing.assert_close(wave[:, 0], audio, rtol=1e-5, atol=2e-6)
