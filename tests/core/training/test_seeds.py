"""One seed, many streams."""

import pytest
import torch

from lqsep.core.errors import ConfigError
from lqsep.core.training.seeds import spawn_generator, spawn_seed


def test_every_purpose_has_a_stream_of_its_own() -> None:
    purposes = [
        (),
        ("codec",),
        ("codec", "weights"),
        ("weights", "codec"),
        ("codec", 0),
        (0,),
        (1,),
    ]
    numbers = [spawn_seed(seed, *purpose) for seed in (0, 1) for purpose in purposes]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 2**63 for number in numbers)


def test_the_same_purpose_has_the_same_stream() -> None:
    # On every machine and in every version: models are trained again from their recipe.
    assert spawn_seed(4, "codec", "weights") == 6603185264555479731
    first, again, other = (
        torch.rand(100, generator=spawn_generator(seed, "codec")) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not (first == other).any()


def test_streams_are_not_alike() -> None:
    streams = torch.stack(
        [torch.randn(10_000, generator=spawn_generator(0, "batches", k)) for k in range(20)]
    )
    # 190 correlations with a standard deviation of 0.01.
    assert torch.corrcoef(streams).triu(1).abs().max() < 0.05


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a seed of 0 or more, got -1"):
        spawn_seed(-1)
