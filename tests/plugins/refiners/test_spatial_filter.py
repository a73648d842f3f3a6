import subprocess
import sys

import pytest
import torch

from lqsep.plugins.refiners.spatial_filter import first_of_two


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def random_masks(bins, frames, seed=0):
    first = torch.rand(bins, frames, generator=torch.Generator().manual_seed(seed))
    return torch.stack([first, 1 - first])


def in_turns(frames):
    """Each alone for a third of the time, then both: masks that cannot tell them apart there."""
    first = torch.cat([torch.ones(frames), torch.zeros(frames), torch.full((frames,), 0.5)])
    return torch.stack([first, 1 - first])


def sdr(truth, found):
    error = (truth - found).abs().square().sum()
    return float(10 * torch.log10(truth.abs().square().sum() / error))


@pytest.mark.parametrize(("first", "second"), [((1, 0.3), (0.4, 1)), ((1, 1), (1, 0))])
def test_what_the_masks_cannot_separate_comes_from_two_directions(first, second):
    n = 200
    bins = 300  # more than one block
    alone = in_turns(n)
    waves = noise(2, bins, 3 * n) * (alone > 0)[:, None]
    directions = torch.tensor([first, second]).to(waves.dtype)
    truth = directions[:, :, None, None] * waves[:, None]
    mixture = truth.sum(0)
    masks = alone[:, None].expand(-1, bins, -1)
    both = slice(2 * n, None)
    by_masks = masks[0] * mixture
    found = first_of_two(mixture, masks)
    for part, shared, filtered in (
        (truth[0], by_masks, found),
        (truth[1], mixture - by_masks, mixture - found),
    ):
        assert sdr(part[..., both], shared[..., both]) < 5
        # Measured 22 to 32 dB; the rest is what every direction is taken to have of both, and the
        # frames with both in the covariances.
        assert sdr(part[..., both], filtered[..., both]) > 20


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_is_the_multichannel_wiener_filter(channels):
    frames = 40
    mixture = noise(channels, 3, frames).to(torch.complex128)
    mixture[1] *= 0.2
    masks = random_masks(3, frames).double()
    found = first_of_two(mixture, masks)
    for place in range(3):
        x = mixture[:, place]
        covariances = []
        for mask in masks[:, place]:
            certain = (x * (mask**8 + 0.3 / frames)) @ x.mH
            level = certain.sum().real / channels**2 + 0.05 * certain.trace().real / channels
            covariances.append(certain / level + 0.002 * torch.eye(channels))
        for frame in range(frames):
            first, second = (
                float(mask) * covariance
                for mask, covariance in zip(masks[:, place, frame], covariances, strict=True)
            )
            expected = first @ torch.linalg.inv(first + second) @ x[:, frame]
            assert torch.allclose(found[:, place, frame], expected, atol=1e-9)


@pytest.mark.parametrize(
    "direction", [(1.0,), (1.0, 1.0), (1.0, -1.0), (1.0, 0.0), (0.0, 1.0), (0.5, -0.2, 0.1)]
)
def test_one_direction_is_left_to_the_masks(direction):
    masks = random_masks(20, 50)
    mixture = torch.tensor(direction)[:, None, None] * noise(20, 50)
    # Rounding of the covariances in float32, over the 0.002 that every direction has.
    assert torch.allclose(first_of_two(mixture, masks), masks[0] * mixture, atol=2e-5)


def test_levels_of_the_masks_are_those_of_the_middle():
    # The first source is as loud at the sides as in the middle, the second in the middle only.
    middle, side = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
    wide = torch.cat([middle, side]).repeat(50, 1)
    both = torch.tensor([[1.5, 0.5]]).repeat(10, 1)
    mixture = torch.cat([wide, middle.repeat(100, 1), both]).T[:, None].to(torch.complex64)
    first = torch.cat([torch.ones(100), torch.zeros(100), torch.full((10,), 0.3)])
    found = first_of_two(mixture, torch.stack([first, 1 - first])[:, None])[:, 0, -1]
    # Of the middle its share, as by the masks; the 5 % of the channels' own level make it 0.29. Of
    # the sides, where the second has next to nothing, all.
    assert found.sum().real / 2 == pytest.approx(0.29, abs=0.005)
    assert (found[0] - found[1]).real / 2 == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-15, 1e15])
@pytest.mark.parametrize("frames", [1, 2, 30])
def test_no_level_is_too_low_or_too_high(scale, frames):
    mixture, masks = noise(2, 9, frames), random_masks(9, frames)
    mixture[:, 3] = 0  # a silent bin
    mixture[1, 4] = 0  # a silent channel
    masks[:, 5] = torch.tensor([1.0, 0.0])[:, None]
    masks[0, 6] = 1e-12
    masks[1, 6] = 1
    expected = first_of_two(mixture, masks)
    assert expected.isfinite().all()
    assert torch.allclose(expected[:, 5], mixture[:, 5], atol=1e-5)
    assert expected[:, 6].abs().max() < 1e-5
    found = first_of_two(scale * mixture, masks)
    assert torch.allclose(found, scale * expected, rtol=1e-4, atol=1e-5 * scale)


def test_of_a_source_that_is_never_nearly_alone_nothing_is_concluded():
    masks = torch.stack([torch.full((4, 50), 0.99), torch.full((4, 50), 0.01)])
    masks[1, :, 25:] = 0.02
    mixture = noise(2, 4, 50)
    mixture[0, :, 25:] *= 3  # there it comes from elsewhere
    found = mixture - first_of_two(mixture, masks)
    assert torch.allclose(found, masks[1] * mixture, atol=0.01)


def test_masks_may_be_more_precise_than_the_mixture():
    mixture, masks = noise(2, 9, 30), random_masks(9, 30)
    found = first_of_two(mixture, masks.double())
    assert found.dtype == mixture.dtype
    assert torch.equal(found, first_of_two(mixture, masks))


def test_a_single_frame_is_left_to_the_masks():
    mixture, masks = noise(2, 9, 1), random_masks(9, 1)
    assert torch.allclose(first_of_two(mixture, masks), masks[0] * mixture, atol=1e-5)


def test_memory_is_bounded_for_many_channels():
    """The work takes matrices of all channels per bin: fewer bins at a time."""
    channels, bins = 64, 257
    program = f"""
import resource, torch
from lqsep.plugins.refiners.spatial_filter import first_of_two
torch.manual_seed(0)
mixture = torch.randn({channels}, {bins}, 4, dtype=torch.complex64)
masks = torch.full((2, {bins}, 4), 0.5)
first_of_two(mixture[:2], masks)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
first_of_two(mixture, masks)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    # A single matrix per bin, all bins at once, would be 16 MB; the work needs a dozen of them.
    assert int(done.stdout) < 40_000, done.stderr


def test_beyond_64_channels_masks_alone():
    mixture, masks = noise(65, 3, 8), random_masks(3, 8)
    torch.testing.assert_close(first_of_two(mixture, masks), masks[0] * mixture)
    found = first_of_two(mixture[:64], masks)
    assert (found - masks[0] * mixture[:64]).abs().max() > 0.01
