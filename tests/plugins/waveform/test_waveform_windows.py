"""Decoding candidates: each once, in batches, with bounded memory."""

from collections import Counter

import pytest
import torch

from lqsep.plugins.lqvae.codec import LQVAECodec
from lqsep.plugins.lqvae.model import LQVAE
from lqsep.plugins.waveform.windows import WindowDecoder, first_frame


def test_first_frames() -> None:
    constant = [first_frame(frame, 4, "constant") for frame in range(10)]
    assert constant == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    increment = [first_frame(frame, 4, "increment") for frame in range(10)]
    assert increment == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    assert [first_frame(frame, 1, "increment") for frame in range(3)] == [0, 1, 2]


def probed(codec, decoder: WindowDecoder) -> None:
    """Let it find out whether the sources share a decoder, and forget those decodings."""
    decoder.is_shared(torch.device("cpu"))
    codec.decoded.clear()


CONTEXTS = (
    torch.tensor([[0, 1], [0, 1], [2, 2], [0, 1]]),
    torch.tensor([[3, 1], [2, 2], [2, 2], [3, 1]]),
)


@pytest.mark.parametrize("own_decoders", [False, True])
def test_every_candidate_is_decoded_once(make_codec, own_decoders) -> None:
    codec = make_codec(own_decoders=own_decoders)
    decoder = WindowDecoder(codec)
    probed(codec, decoder)
    assert decoder.is_shared(torch.device("cpu")) != own_decoders
    first, second = decoder.decode(CONTEXTS)
    distinct = [{(0, 1), (2, 2)}, {(3, 1), (2, 2)}]
    if not own_decoders:
        distinct = [distinct[0] | distinct[1]]
    expected = Counter(
        (source, (*context, code))
        for source, contexts in enumerate(distinct)
        for context in contexts
        for code in range(5)
    )
    assert codec.decoded == expected
    for source, (contexts, found) in enumerate(zip(CONTEXTS, (first, second), strict=True)):
        assert found.shape == (4, 5, 4)
        for row, context in enumerate(contexts.tolist()):
            windows = torch.tensor([[*context, code] for code in range(5)])
            ends = codec.decode(windows, 12, source)[:, 0, -4:]
            torch.testing.assert_close(found[row], ends, rtol=0, atol=0)


def test_what_was_decoded_is_kept_for_other_calls(make_codec) -> None:
    """Other batches of hypotheses, and frames at which a window begins anew."""
    codec = make_codec()
    decoder = WindowDecoder(codec)
    probed(codec, decoder)
    whole = decoder.decode(CONTEXTS)
    decoded = sum(codec.decoded.values())
    part = decoder.decode([rows[1:3] for rows in CONTEXTS])
    assert sum(codec.decoded.values()) == decoded
    assert torch.equal(part[0], whole[0][1:3])
    assert torch.equal(part[1], whole[1][1]), "one context for all: no axis of rows"
    empty = [rows[:, :0] for rows in CONTEXTS]
    assert decoder.decode(empty)[0].shape == (5, 4)
    decoder.decode(empty)
    assert sum(codec.decoded.values()) == decoded + 5


def test_memory_is_bounded(make_codec) -> None:
    """Room for three contexts of 5 codes and 4 samples; a call may use more and then lets go."""
    codec = make_codec()
    decoder = WindowDecoder(codec, most_kept=3 * 20)
    probed(codec, decoder)
    contexts = [torch.arange(5)[:, None], torch.arange(5)[:, None]]
    assert decoder.decode(contexts)[0].shape == (5, 5, 4)
    assert (len(decoder._kept), decoder._n_kept) == (3, 60)
    codec.decoded.clear()
    decoder.decode([rows[2:] for rows in contexts])
    assert not codec.decoded, "the last ones are kept"
    decoder.decode([rows[:2] for rows in contexts])
    assert sum(codec.decoded.values()) == 2 * 5
    assert (len(decoder._kept), decoder._n_kept) == (3, 60)
    stored = [ends.untyped_storage().nbytes() for ends in decoder._kept.values()]
    assert stored == [80] * 3, "what is kept holds no more memory than its own"


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches(make_codec, batch_size) -> None:
    codec = make_codec()
    found = WindowDecoder(codec, batch_size=batch_size).decode(CONTEXTS)
    assert codec.largest_batch == min(batch_size, 15)
    for batched, whole in zip(found, WindowDecoder(make_codec()).decode(CONTEXTS), strict=True):
        assert torch.equal(batched, whole)


def test_smaller_batches_when_memory_runs_out(make_codec, caplog) -> None:
    codec = make_codec()
    decode = codec.decode

    def small(codes, n_samples, source=None, mixture=None):
        if len(codes) > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return decode(codes, n_samples, source)

    codec.decode = small
    decoder = WindowDecoder(codec)
    found = decoder.decode(CONTEXTS)
    assert torch.equal(found[0], WindowDecoder(make_codec()).decode(CONTEXTS)[0])
    n_warnings = len(caplog.records)
    assert n_warnings > 0
    decoder.decode([rows.flip(1) for rows in CONTEXTS])
    assert len(caplog.records) == n_warnings, "it remembers what fits"


class CountingCodec(LQVAECodec):
    """The real thing, noting what it decodes."""

    def decode(self, codes, n_samples, source=None, mixture=None):
        self.decoded = getattr(self, "decoded", Counter())
        self.decoded.update(tuple(row) for row in codes.tolist())
        return super().decode(codes, n_samples, source, mixture)


def test_an_lq_vae_decodes_both_sources_alike() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LQVAE(embedding_dim=4, codebook_size=8, width=4, depth=1)
    codec = CountingCodec(model, sample_rate=8000)
    decoder = WindowDecoder(codec, batch_size=5)
    probed(codec, decoder)
    assert decoder.is_shared(torch.device("cpu"))
    contexts = [rows % 8 for rows in CONTEXTS]
    found = decoder.decode(contexts)
    assert set(codec.decoded.values()) == {1} and len(codec.decoded) == 3 * 8
    window = torch.cat([contexts[1], torch.full((4, 1), 6)], 1)
    ends = codec.decode(window, 3 * 64)[:, 0, -64:]
    # Batches of another size sum in another order.
    torch.testing.assert_close(found[1][:, 6], ends, rtol=1e-5, atol=1e-6)
