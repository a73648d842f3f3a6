"""What every table is read against: baselines and oracles, as they stand in the mixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.mono import to_mono
from lqsep.core.errors import AudioError, LqsepError
from lqsep.core.evaluation.baselines import (
    HpssSetting,
    best_hpss,
    hpss,
    oracle_masks,
    share_mixture,
)
from lqsep.core.evaluation.items import load_item, plan_track
from lqsep.core.evaluation.protocols import Protocol
from lqsep.core.evaluation.sound import ItemSound, at_gain
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.codec_calls import analysed
from lqsep.core.interfaces.data import Mixture
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.separation.references import codec_round_trip
from lqsep.core.separation.unheard import heard

# What lasts is taken for the one, what is short for the other.
_HARMONIC, _PERCUSSIVE = "bass", "drums"

# The median filters are fitted to so many tracks, evenly spread, and so much of each.
_FITTED_TRACKS = 8
_FITTED_S = 10.0

# Long tracks are worked on in stretches, with some of what is around them.
_STRETCH_S = 60.0
_MARGIN_S = 1.0

Stems = Float[Tensor, "sources channels samples"]


@dataclass(frozen=True)
class Baselines:
    """Which are computed beside the model: all of them, ``hpss`` if it was fitted.

    Args:
        hpss: Setting of the median filters; None leaves this baseline out.
        notes: What a reader should know, for every item.
    """

    hpss: HpssSetting | None = None
    notes: tuple[str, ...] = ()


def fit_baselines(
    dataset: Dataset,
    protocol: Protocol,
    *,
    sources: Sequence[str],
    gains: Sequence[float],
    seed: int = 0,
) -> Baselines:
    """Choose the median filters' sizes for a data set: once, before its items are scored.

    The choice is made on the data set itself (up to 8 tracks, evenly spread, of each the first
    item, 10 s of it), which favours the baseline. It is the same however many tracks are scored.
    Tracks that cannot be read are passed over.

    Args:
        dataset: Tracks with their stems.
        protocol: Of the scores.
        sources: The model's.
        gains: The model's.
        seed: As `plan_items`.

    Raises:
        AudioError: No track can be read, or none has anything to score.
    """
    if set(sources) != {_HARMONIC, _PERCUSSIVE}:
        reason = f"is defined for {_PERCUSSIVE} and {_HARMONIC}, not for {', '.join(sources)}"
        return Baselines(notes=(f"hpss left out: it {reason}",))
    found = list(islice(_pairs(dataset, protocol, sources, gains, seed), _FITTED_TRACKS))
    if not found:
        raise AudioError(
            f"evaluation: none of {len(dataset)} tracks can be read to fit the baseline hpss to; "
            "repair the files, or leave the baselines out"
        )
    setting = best_hpss(found)
    chosen = (
        f"window {1000 * setting.window_s:.0f} ms, filters {setting.time_s:g} s and "
        f"{setting.frequency_hz:g} Hz"
    )
    n_tracks = f"{len(found)} of {len(dataset)} tracks"
    return Baselines(setting, (f"hpss: {chosen}, the best of a grid on {n_tracks}",))


def baseline_stems(
    sound: ItemSound, sources: Sequence[str], codec: Codec, device: torch.device, chosen: Baselines
) -> dict[str, Stems]:
    """Estimates by name, each of the shape of ``sound.stems``.

    ``mixture/<n>`` is the mixture divided by the number of sources, ``hpss`` its harmonic and
    percussive parts, ``codec`` every true source through the codec (as good as decoded candidates
    can be), ``oracle-mask`` the mixture under the best soft masks.
    """
    n_sources = len(sources)
    stems = {
        f"mixture/{n_sources}": share_mixture(sound.mixture, n_sources),
        "codec": codec_round_trips(sound, codec, device),
        "oracle-mask": _in_stretches(_masked, sound),
    }
    if chosen.hpss is not None:
        setting = chosen.hpss

        def split(part: ItemSound) -> Stems:
            harmonic, percussive = hpss(part.mixture, part.sample_rate, setting)
            parts = {_HARMONIC: harmonic, _PERCUSSIVE: percussive}
            return torch.stack([parts[source] for source in sources])

        stems["hpss"] = _in_stretches(split, sound)
    return stems


def codec_round_trips(sound: ItemSound, codec: Codec, device: torch.device) -> Stems:
    """Every true source coded and decoded inside the mixture, times its gain.

    The codec sees each source at the level that it would have inside the mixture as analysed.
    """

    def round_trips(part: ItemSound) -> Stems:
        with torch.inference_mode():
            return at_gain(_through(part, codec, device), part.gains)

    return _in_stretches(round_trips, sound)


def _through(sound: ItemSound, codec: Codec, device: torch.device) -> Stems:
    info, rate = codec.info, sound.sample_rate
    # As separating analyses it.
    audible = heard(Mixture(sound.mixture, rate), info.lowest_hz).wave
    mixture = to_mono(audible, rate, info.sample_rate).expand(info.channels, -1).to(device)
    scale = analysed(codec, mixture).scale
    trips = [
        codec_round_trip(codec, wave, mixture, rate, source, scale)
        for source, wave in enumerate(sound.sources)
    ]
    return torch.stack(trips).expand_as(sound.sources)


def _masked(sound: ItemSound) -> Stems:
    return oracle_masks(sound.mixture, sound.stems, sound.sample_rate)


def _in_stretches(work: Callable[[ItemSound], Stems], sound: ItemSound) -> Stems:
    """Piece by piece, so that memory for spectra does not grow with the track."""
    n_samples = sound.sources.shape[-1]
    length, margin = (round(s * sound.sample_rate) for s in (_STRETCH_S, _MARGIN_S))
    parts = []
    for start in range(0, n_samples, length):
        stop = min(start + length, n_samples)
        first, last = max(0, start - margin), min(n_samples, stop + margin)
        part = ItemSound(sound.sources[..., first:last], sound.gains, sound.sample_rate)
        parts.append(work(part)[..., start - first : stop - first])
    return torch.cat(parts, -1)


def _pairs(
    dataset: Dataset,
    protocol: Protocol,
    sources: Sequence[str],
    gains: Sequence[float],
    seed: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
    """Mixture, harmonic part, percussive part and sample rate of the tracks that can be read.

    In an order of which every beginning of ``_FITTED_TRACKS`` or more is spread over the data set.
    """
    harmonic, percussive = (list(sources).index(name) for name in (_HARMONIC, _PERCUSSIVE))
    step = -(-len(dataset) // _FITTED_TRACKS)
    for index in sorted(range(len(dataset)), key=lambda index: index % step):
        try:
            items = plan_track(dataset, index, protocol, sources=sources, seed=seed)
            if not items:
                continue
            sound = load_item(
                dataset, items[0], protocol, sources=sources, gains=gains, longest_s=_FITTED_S
            )
        except LqsepError as error:
            if error.exit_code != 1:
                raise
            continue  # scoring the track will tell
        stems = sound.stems
        yield sound.mixture, stems[harmonic], stems[percussive], sound.sample_rate
