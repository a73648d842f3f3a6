"""Sample dumps (sds): whether the packets of sound are whole.

libsndfile takes damaged packets for sound, and prints what it thinks of them where the results of a
command belong.
"""

from __future__ import annotations

import functools
import operator
from pathlib import Path

_HEADER = 21
_PACKET = 127

# Bytes of sound in a packet; each holds seven bits of a sample.
_SOUND = 120


def damaged_packet(path: Path) -> int | None:
    """The number of the first packet that is damaged or missing, counted from 1.

    None where all are whole, and for any other kind of file.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
        if len(header) < _HEADER or header[:2] != b"\xf0\x7e" or header[3] != 1:
            return None
        bytes_per_sample = max(2, -(-header[6] // 7))
        n_samples = header[10] | header[11] << 7 | header[12] << 14
        n_packets = -(-n_samples // (_SOUND // min(bytes_per_sample, 4)))
        for number in range(1, n_packets + 1):
            if not _is_whole(file.read(_PACKET)):
                return number
    return None


def _is_whole(packet: bytes) -> bool:
    if len(packet) < _PACKET or packet[:2] != b"\xf0\x7e":
        return False
    return functools.reduce(operator.xor, packet[1:-2]) & 0x7F == packet[-2]
