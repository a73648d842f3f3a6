import pytest
import torch

from lqsep.plugins.transformer.attention import attend
from lqsep.plugins.transformer.kv_cache import KVCache
from lqsep.plugins.transformer.patterns import Pattern, patterns

BLOCK, MAX_FRAMES, ROWS, HEADS, HEAD_DIM = 4, 20, 3, 2, 5
ALL = tuple(Pattern)
# Softmax and sums of float32 in another order.
TOLERANCE = 1e-5


def seen_positions(pattern, frame):
    """What a frame sees, by definition."""
    row, column = divmod(frame, BLOCK)
    return {
        Pattern.DENSE: range(frame + 1),
        Pattern.ROW: range(row * BLOCK, frame + 1),
        Pattern.COLUMN: range(column, frame + 1, BLOCK),
        Pattern.PREVIOUS_ROW: range(max(row - 1, 0) * BLOCK, row * BLOCK),
    }[pattern]


def make_cache(rows=ROWS):
    return KVCache(
        ALL,
        rows=rows,
        heads=HEADS,
        head_dim=HEAD_DIM,
        max_frames=MAX_FRAMES,
        block_frames=BLOCK,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )


@pytest.fixture
def keys_values():
    """Random keys and values of every layer: layers rows 2 heads frames head_dim."""
    shape = (len(ALL), ROWS, 2, HEADS, MAX_FRAMES, HEAD_DIM)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def check_append(cache, values, frame):
    """Append a frame to every layer; all must see what the definition says."""
    for layer, pattern in enumerate(ALL):
        seen = cache.append(layer, values[layer, :, :, :, frame])
        positions = list(seen_positions(pattern, frame))
        if not positions:
            assert seen is None
            continue
        expected = values[layer][:, :, :, positions]
        assert torch.equal(seen[0], expected[:, 0])
        assert torch.equal(seen[1], expected[:, 1])
    cache.advance(1)


def test_layers_take_turns():
    kinds = ["row", "column", "previous-row", "row", "column"]
    assert [str(p) for p in patterns(5, "factored")] == kinds
    assert patterns(2, "dense") == (Pattern.DENSE, Pattern.DENSE)


def test_appending_shows_what_the_pattern_sees(keys_values):
    cache = make_cache()
    for frame in range(MAX_FRAMES):
        check_append(cache, keys_values, frame)
    assert cache.position == MAX_FRAMES


@pytest.mark.parametrize("n_first", range(1, MAX_FRAMES))
def test_filling_equals_appending(keys_values, n_first):
    cache = make_cache()
    for layer in range(len(ALL)):
        cache.fill(layer, keys_values[layer, :, :, :, :n_first])
    cache.advance(n_first)
    for frame in range(n_first, MAX_FRAMES):
        check_append(cache, keys_values, frame)


@pytest.mark.parametrize("rows", [[2, 0, 0], [0, 1, 0], [1], [2, 2, 1, 0, 1]])
@pytest.mark.parametrize("n_first", range(1, 11))
def test_selecting_rows(keys_values, rows, n_first):
    cache = make_cache()
    for frame in range(n_first):
        check_append(cache, keys_values, frame)
    cache.select(torch.tensor(rows))
    assert cache.rows == len(rows)
    for frame in range(n_first, MAX_FRAMES):
        check_append(cache, keys_values[:, rows], frame)


def test_selecting_all_rows_touches_nothing(keys_values):
    cache = make_cache()
    check_append(cache, keys_values, 0)
    versions = [data._version for data in cache._data]
    pointers = [data.data_ptr() for data in cache._data]
    cache.select(torch.arange(ROWS))
    assert [data._version for data in cache._data] == versions
    assert [data.data_ptr() for data in cache._data] == pointers


def test_a_layer_keeps_only_what_it_can_see():
    slots = {p: data.shape[3] for p, data in zip(ALL, make_cache()._data, strict=True)}
    assert slots == {
        Pattern.DENSE: MAX_FRAMES,
        Pattern.ROW: BLOCK,
        Pattern.COLUMN: MAX_FRAMES,
        Pattern.PREVIOUS_ROW: 2 * BLOCK,
    }


@pytest.mark.parametrize("pattern", ALL)
@pytest.mark.parametrize("frames", [1, 3, 4, 5, 8, 11, 20])
def test_attention_of_a_sequence(keys_values, pattern, frames):
    query, key, value = (keys_values[0, :, 0], keys_values[0, :, 1], keys_values[1, :, 1])
    query, key, value = (x[:, :, :frames] for x in (query, key, value))
    found = attend(query, key, value, pattern, BLOCK)
    for frame in range(frames):
        positions = list(seen_positions(pattern, frame))
        expected = torch.zeros(ROWS, HEADS, HEAD_DIM)
        if positions:
            scores = torch.einsum("rhd,rhsd->rhs", query[:, :, frame], key[:, :, positions])
            weights = (scores / HEAD_DIM**0.5).softmax(-1)
            expected = torch.einsum("rhs,rhsd->rhd", weights, value[:, :, positions])
        torch.testing.assert_close(found[:, :, frame], expected, atol=TOLERANCE, rtol=0)
