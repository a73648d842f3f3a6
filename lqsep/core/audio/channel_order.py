"""The order of channels: that of wav files inside lqsep, another one in some files.

Up to two channels all agree. From three on, Vorbis and Opus have the centre second and the
subwoofer last, ALAC has the centre first. libsndfile gives and takes channels as they stand in the
file.

Reference: Vorbis I specification, 4.3.9; RFC 7845, 5.1.1.2; Apple Lossless, channel layouts.
"""

from __future__ import annotations

Order = tuple[int, ...]

# For each number of channels, where the channels of a wav file (left, right, centre, subwoofer,
# back, side) are in the other one.
_VORBIS: dict[int, Order] = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}
_ALAC: dict[int, Order] = {
    3: (1, 2, 0),
    4: (1, 2, 0, 3),
    5: (1, 2, 0, 3, 4),
    6: (1, 2, 0, 5, 3, 4),
    7: (1, 2, 0, 6, 5, 3, 4),
    8: (3, 4, 0, 7, 5, 6, 1, 2),
}


def order_in_file(format: str, subtype: str, channels: int) -> Order | None:
    """Where the channels of a wav file are in a file of this format; None where they agree.

    Args:
        format: As soundfile names it; ``subtype`` likewise.
        channels: How many.
    """
    if format.upper() == "OGG":
        return _VORBIS.get(channels)
    return _ALAC.get(channels) if subtype.startswith("ALAC") else None


def order_for_file(format: str, subtype: str, channels: int) -> Order | None:
    """The other way round: which channel of a wav file each of the file's channels is."""
    order = order_in_file(format, subtype, channels)
    return None if order is None else tuple(order.index(i) for i in range(channels))
