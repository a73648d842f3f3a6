"""The table of code sums against brute force in float64 and against the reference's tables."""

from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lqsep.core.errors import CheckpointError, IncompatibleComponentsError, ShapeError
from lqsep.core.store.weights import load_weights, save_weights
from lqsep.plugins.codebook_sum.table import (
    build_sum_table,
    load_table,
    save_table,
    tie_tolerance,
)

# Annotations checked at run time, an option of the test run, refuse wrong shapes first.
WRONG_SHAPE = (ShapeError, jaxtyping.TypeCheckError)

GAINS = [(0.5, 0.5), (0.7, 0.3), (0.4, 0.4), (1.0, 1.0), (2.0, -1.0)]


def random_codebook(size: int, dim: int, *, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, dim, generator=generator) * scale


def half_distances(codebook: Tensor, gains: tuple[float, float]) -> Tensor:
    """``|gain_0 e_i + gain_1 e_j - e_k|^2 / 2`` for all i, j, k, in float64."""
    vectors = codebook.double()
    sums = gains[0] * vectors[:, None] + gains[1] * vectors[None]
    return (
        torch.cdist(sums.flatten(0, 1), vectors, compute_mode="donot_use_mm_for_euclid_dist")
        .view(len(vectors), len(vectors), -1)
        .square()
        / 2
    )


def brute_force(codebook: Tensor, gains: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """The table under the same tie rule, and where rounding could not change it.

    An entry is clear when neither the second best score nor the tie is a matter of the float32
    errors that the tolerance stands for.
    """
    half = half_distances(codebook, gains)
    tolerance = tie_tolerance(codebook, gains)
    size = len(codebook)
    i, j = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    own = torch.maximum(half[i, j, i], half[i, j, j]) - half.amin(2)
    table = torch.where(own <= tolerance, torch.minimum(i, j), half.argmin(2))
    if size == 1:
        return table, torch.ones_like(table, dtype=torch.bool)
    lowest = half.topk(2, dim=2, largest=False).values
    tied = own <= tolerance / 100
    clear = tied | ((own > 2 * tolerance) & (lowest[..., 1] - lowest[..., 0] > 2 * tolerance))
    return table, clear


@pytest.mark.parametrize("gains", GAINS)
@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 130])
def test_equals_brute_force(size: int, gains: tuple[float, float]) -> None:
    codebook = random_codebook(size, 5)
    table = build_sum_table(codebook, gains)
    expected, clear = brute_force(codebook, gains)
    assert table.dtype == torch.int32
    assert clear.float().mean() > 0.99
    assert torch.equal(table[clear].long(), expected[clear])


@pytest.mark.parametrize("dim", [16, 64])
def test_most_sums_of_a_random_codebook_are_structural_ties(dim: int) -> None:
    """The lower of the pair's own codes is chosen, whatever rounding says."""
    codebook = random_codebook(100, dim, scale=3.0)
    table = build_sum_table(codebook, (0.5, 0.5))
    expected, clear = brute_force(codebook, (0.5, 0.5))
    i, j = torch.meshgrid(torch.arange(100), torch.arange(100), indexing="ij")
    ties = (expected == i) | (expected == j)
    assert ties.float().mean() > (0.3 if dim == 16 else 0.95)
    assert clear.all()
    assert torch.equal(table.long(), expected)
    assert torch.equal(table, table.T)


def test_tolerance_follows_the_scale_of_the_codebook() -> None:
    for scale in (1e-4, 1.0, 1e4):
        codebook = random_codebook(70, 32, scale=scale)
        table = build_sum_table(codebook, (0.5, 0.5))
        assert torch.equal(table.long(), brute_force(codebook, (0.5, 0.5))[0])
    codebook = random_codebook(4, 3)
    assert tie_tolerance(codebook * 10, (0.5, 0.5)) == pytest.approx(
        100 * tie_tolerance(codebook, (0.5, 0.5))
    )


def test_equal_codes_resolve_to_the_lower() -> None:
    codebook = random_codebook(5, 4)[[0, 1, 2, 1, 3, 1]]
    table = build_sum_table(codebook, (1.0, 0.0))
    assert table[:, 0].tolist() == [0, 1, 2, 1, 4, 1]
    # The lower of the pair's own codes; that code 1 is the same again makes no difference.
    assert build_sum_table(codebook, (0.7, 0.3))[5, 3] == 3


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    size=st.integers(1, 40),
    dim=st.integers(1, 20),
    first=st.floats(0.05, 1.5),
    second=st.one_of(st.none(), st.floats(0.05, 1.5)),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
)
def test_random_shapes(
    seed: int, size: int, dim: int, first: float, second: float | None, scale: float
) -> None:
    codebook = random_codebook(size, dim, seed=seed, scale=scale)
    gains = (first, first if second is None else second)
    table = build_sum_table(codebook, gains).long()
    expected, clear = brute_force(codebook, gains)
    assert torch.equal(table[clear], expected[clear])
    # Where float32 may decide otherwise, it errs by no more than it resolves.
    half = half_distances(codebook, gains)
    excess = half.gather(2, table[..., None])[..., 0] - half.amin(2)
    assert float(excess.max()) <= 2 * tie_tolerance(codebook, gains)


def test_row_code_has_the_first_gain() -> None:
    codebook = random_codebook(20, 6)
    codes = torch.arange(20, dtype=torch.int32)
    assert torch.equal(build_sum_table(codebook, (1.0, 0.0)), codes[:, None].expand(20, 20))
    assert torch.equal(build_sum_table(codebook, (0.0, 1.0)), codes.expand(20, 20))


@pytest.mark.parametrize(("suffix", "gains"), [("", (0.5, 0.5)), ("_a37", (0.3, 0.7))])
def test_reference_tables(golden, suffix, gains):
    """Untied pairs exactly; on ties, which rounding decided there, one of the nearest two.

    The margin is in squared distance; ties are pairs below 1e-4.
    """
    recorded = golden.npz("codebook_sums")
    codebook = torch.from_numpy(golden.npz("codec")["codebook_l2"])
    assert tuple(recorded["alpha" + suffix]) == gains
    table = build_sum_table(codebook, gains)
    tied = torch.from_numpy(recorded["tied" + suffix])
    expected = torch.from_numpy(recorded["sums" + suffix])
    nearest = torch.from_numpy(recorded["nearest2" + suffix])
    assert torch.equal(table[~tied], expected[~tied])
    assert (table[tied][:, None] == nearest[tied]).any(1).all()


def test_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    codebook = random_codebook(70, 8)
    for gains in ((0.5, 0.5), (0.7, 0.3)):
        whole = build_sum_table(codebook, gains)
        for scores in (1, 1000, 1 << 24):
            monkeypatch.setattr("lqsep.plugins.codebook_sum.table._SCORES_CPU", scores)
            monkeypatch.setattr("lqsep.plugins.codebook_sum.table._GRAM_ROWS", 33)
            assert torch.equal(build_sum_table(codebook, gains), whole)
        monkeypatch.undo()


@pytest.mark.parametrize("gains", [(0.5, 0.5), (0.7, 0.3)])
def test_progress(gains: tuple[float, float]) -> None:
    seen: list[tuple[int, int]] = []
    build_sum_table(
        random_codebook(150, 3), gains, on_block=lambda done, total: seen.append((done, total))
    )
    done = [count for count, _ in seen]
    assert len(seen) > 1 and done == sorted(set(done))
    assert {total for _, total in seen} == {done[-1]}
    assert done[-1] == (150 * 150 if gains[0] != gains[1] else 64 * 64 + 64 * 128 + 22 * 150)


def test_wrong_codebook() -> None:
    for shape in ((4,), (0, 3), (3, 0)):
        with pytest.raises(WRONG_SHAPE, match="expected a codebook|Type-check error"):
            build_sum_table(torch.zeros(shape), (0.5, 0.5))


def test_stored_table(tmp_path: Path) -> None:
    table = build_sum_table(random_codebook(300, 2), (0.1, 1 / 3))
    digest = save_table(tmp_path / "sums.safetensors", table, (0.1, 1 / 3), "codec")
    stored = load_table(tmp_path / "sums.safetensors", sha256=digest)
    assert torch.equal(stored.table, table)
    assert stored.table.dtype == torch.int32
    assert stored.gains == (0.1, 1 / 3), "gains are kept to the last digit"
    assert stored.codec_fingerprint == "codec"
    assert load_weights(tmp_path / "sums.safetensors").tensors["table"].element_size() == 2
    with pytest.raises(CheckpointError, match="not the file"):
        load_table(tmp_path / "sums.safetensors", sha256="0" * 64)


def test_large_codes_survive_storage(tmp_path: Path) -> None:
    """Codes above 32,767 do not turn negative: the narrow type is unsigned."""
    codes = torch.tensor([[0, 40000], [65535, 1]], dtype=torch.int32)
    save_table(tmp_path / "t.safetensors", codes, (0.5, 0.5), "codec")
    stored = load_weights(tmp_path / "t.safetensors").tensors["table"]
    assert torch.equal(stored.to(torch.int32), codes)


@pytest.mark.parametrize(
    ("table", "gains", "why"),
    [
        (torch.zeros(2, 3), "[0.5, 0.5]", "square"),
        (None, "[0.5, 0.5]", "square"),
        (torch.full((2, 2), 2), "[0.5, 0.5]", "not codes below 2"),
        (torch.full((2, 2), -1), "[0.5, 0.5]", "not codes below 2"),
        (torch.zeros(2, 2), None, "gains"),
        (torch.zeros(2, 2), "[0.5]", "gains"),
        (torch.zeros(2, 2), "half", "gains"),
        (torch.zeros(2, 2), "5", "gains"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, table: Tensor | None, gains: str | None, why: str
) -> None:
    path = tmp_path / "other.safetensors"
    tensors = {"weight": torch.zeros(1)} if table is None else {"table": table.int()}
    metadata = {"codec_fingerprint": "codec"} | ({} if gains is None else {"gains": gains})
    save_weights(path, tensors, metadata)
    with pytest.raises(CheckpointError, match=why):
        load_table(path)


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights file"):
        load_table(tmp_path / "sums.safetensors")


def test_tables_are_of_two_sources() -> None:
    with pytest.raises(IncompatibleComponentsError, match=r"the table of code sums: .* got 3"):
        build_sum_table(random_codebook(4, 2), (0.3, 0.3, 0.4))
