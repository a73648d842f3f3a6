"""Tables of the reference are judged by distances, so that ties are no mistakes."""

import pytest
import torch

from lqsep.core.errors import CheckpointError
from lqsep.core.store.weights import save_weights
from lqsep.plugins.codebook_sum.table import build_sum_table, load_table, save_table
from lqsep.plugins.jukebox.sum_table import (
    load_model_table,
    read_reference_table,
    reference_table,
    save_model_table,
    wrong_entries,
)

EVEN, UNEVEN = (0.5, 0.5), (0.3, 0.7)
TABLES = {EVEN: "codebook_sums", UNEVEN: "codebook_sums_a37"}


def wrong(table, codebook, gains):
    return wrong_entries(table, build_sum_table(codebook, gains), codebook, gains)


@pytest.fixture(scope="module")
def codebook(golden):
    return torch.from_numpy(golden.npz("codec")["codebook_l2"])


@pytest.fixture(scope="module")
def recorded(golden):
    return {
        gains: read_reference_table(golden.path(f"{name}.pt"), 64) for gains, name in TABLES.items()
    }


@pytest.mark.parametrize("gains", TABLES)
def test_recorded_tables_fit_as_they_are_stored(golden, codebook, recorded, gains):
    name = "sums" if gains == EVEN else "sums_a37"
    assert torch.equal(recorded[gains], torch.from_numpy(golden.npz("codebook_sums")[name]))
    assert wrong(recorded[gains], codebook, gains) == 0


def test_every_way_to_decide_the_ties_fits(golden, codebook, recorded):
    sums = golden.npz("codebook_sums")
    tied = torch.from_numpy(sums["tied"])
    for choice in (0, 1):
        other = torch.from_numpy(sums["nearest2"][..., choice]).int()
        table = torch.where(tied, other, recorded[EVEN])
        assert (table != recorded[EVEN]).sum() > 100
        assert wrong(table, codebook, EVEN) == 0


def test_other_gains_and_other_codebooks_do_not_fit(codebook, recorded):
    table = recorded[UNEVEN]
    # 97 % of the entries, and 1.3 % of them at gains that differ by a hundredth.
    assert wrong(table, codebook, (0.7, 0.3)) > 3900
    assert wrong(table, codebook, (0.31, 0.69)) > 50
    assert wrong(table.T, codebook, (0.7, 0.3)) == 0
    assert wrong(table, codebook.flip(0), UNEVEN) > 2000


def test_a_single_wrong_entry_is_counted(codebook, recorded):
    for gains, table in recorded.items():
        changed = table.clone()
        changed[3, 5] = (changed[3, 5] + 1) % 64
        assert wrong(changed, codebook, gains) == 1


@pytest.mark.parametrize("gains", TABLES)
def test_float32_rounding_of_the_reference_is_allowed(gains):
    """The reference's formula in float32, on a codebook far from the origin."""
    codebook = torch.randn(96, 64, generator=torch.Generator().manual_seed(0)) + 3
    sums = gains[0] * codebook[:, None] + gains[1] * codebook
    squares = codebook.square().sum(1)
    scores = sums.square().sum(2, keepdim=True) - 2 * sums @ codebook.T + squares
    table = scores.argmin(2).int()
    if gains == EVEN:
        assert not torch.equal(table, build_sum_table(codebook, gains)), "no tie, nothing tested"
    assert wrong(table, codebook, gains) == 0


def test_there_and_back(golden, recorded, tmp_path):
    for gains, name in TABLES.items():
        stored = torch.load(golden.path(f"{name}.pt"), weights_only=True)
        back = reference_table(recorded[gains])
        assert back.dtype == stored.dtype == torch.int64
        assert torch.equal(back, stored)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"table": 1}, "expected a tensor of integers"),
        (torch.zeros(1, 16), "expected a tensor of integers"),
        (torch.zeros(1, 15, dtype=torch.int64), r"expected 16 values, got shape \(1, 15\)"),
        (torch.zeros(1, dtype=torch.int64).expand(1, 16), "expected 16 values"),
        (torch.full((1, 16), 4), "expected codes from 0 to 3, found 4 to 4"),
        (torch.full((1, 16), -1), "found -1 to -1"),
    ],
    ids=["dictionary", "floats", "size", "claims more", "too high", "negative"],
)
def test_other_files_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "t.pt")
    with pytest.raises(CheckpointError, match=message):
        read_reference_table(tmp_path / "t.pt", 4)


def test_the_models_file_is_the_likelihoods(tmp_path):
    """Two plugins, one format: what either writes the other reads."""
    table = torch.arange(16, dtype=torch.int32).reshape(4, 4) % 4
    save_model_table(tmp_path / "ours.safetensors", table, (0.3, 0.7), "codec")
    theirs = load_table(tmp_path / "ours.safetensors")
    assert torch.equal(theirs.table, table)
    assert (theirs.gains, theirs.codec_fingerprint) == ((0.3, 0.7), "codec")
    save_table(tmp_path / "theirs.safetensors", table, (0.3, 0.7), "codec")
    assert torch.equal(load_model_table(tmp_path / "theirs.safetensors", "codec"), table)
    with pytest.raises(CheckpointError, match="was trained on another codec"):
        load_model_table(tmp_path / "theirs.safetensors", "other")
    save_weights(tmp_path / "none.safetensors", {"table": torch.zeros(4)}, {})
    with pytest.raises(CheckpointError, match="is not a table of code sums"):
        load_model_table(tmp_path / "none.safetensors", "codec")


@pytest.mark.slow
def test_the_largest_codebooks_fit_in_a_file(tmp_path):
    table = torch.arange(1 << 26, dtype=torch.int64)[None] % 8192
    torch.save(table.int(), tmp_path / "t.pt")
    found = read_reference_table(tmp_path / "t.pt", 8192)
    assert found.shape == (8192, 8192)
    assert torch.equal(found[17], torch.arange(8192, dtype=torch.int32))
