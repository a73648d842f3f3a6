"""Calls of a codec, whose answers are looked at."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.interfaces.calls import ask
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.returned import expect, expect_codes, expect_type


def analysed(codec: Codec, wave: Float[Tensor, "channels samples"]) -> EncodedMixture:
    """`Codec.analyse` of one stretch.

    Raises:
        ComponentError: What it gives is not what the interface has; likewise below.
    """
    method, info = codec.analyse, codec.info
    found = expect_type(method, ask(method, wave[None]), EncodedMixture)
    n_frames = -(-wave.shape[1] // info.hop_length)
    expect(method, "latents", found.latents, float, frames=n_frames, dimensions=info.embedding_dim)
    expect(method, "wave", found.wave, float, channels=info.channels, samples=wave.shape[1])
    if found.codes is not None:
        expect(method, "codes", found.codes, int, frames=n_frames)
    return found


def encoded_codes(
    codec: Codec, wave: Float[Tensor, "batch channels samples"], source: int
) -> Int64[Tensor, "batch frames"]:
    """`Codec.encode` with the codebook of a source."""
    method, n_frames = codec.encode, -(-wave.shape[2] // codec.info.hop_length)
    found = ask(method, wave, source)
    expect(method, "codes", found, int, waves=len(wave), frames=n_frames)
    expect_codes(method, found, codec.codebook_size(source))
    return found


def decoded_codes(
    codec: Codec,
    codes: Int64[Tensor, "batch frames"],
    n_samples: int,
    source: int | None,
    mixture: Float[Tensor, "channels samples"],
) -> Float[Tensor, "batch channels samples"]:
    """`Codec.decode` to a length."""
    method = codec.decode
    found = ask(method, codes, n_samples, source, mixture)
    shape = {"waves": len(codes), "channels": codec.info.channels, "samples": n_samples}
    expect(method, "sound", found, float, **shape)
    return found
