"""MPEG audio (mp3, mp2): what single frames and the tags between them say.

Reference: ISO/IEC 11172-3, 2.4.1 and 2.4.2; ID3 2.4, 3.1; APE tag 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

# kbit/s by (is MPEG 1, layer); index 0 means "any rate", 15 is forbidden.
_LOW_RATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BIT_RATES = {
    (True, 1): tuple(32 * i for i in range(15)),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW_RATES,
    (False, 3): _LOW_RATES,
}

# Hz by the version's two bits: 3 is MPEG 1, 2 is MPEG 2, 0 is "2.5".
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

_MONO = 3

# Of side information, by (is MPEG 1, is mono): what the tag of a layer III file takes the place of.
_SIDE_BYTES = {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}

# So much of a frame tells whether it is one, and whether it is a tag.
HEAD = 40

_LONGEST_LYRICS = 1 << 17


@dataclass(frozen=True)
class Frame:
    """What a frame's header says.

    Args:
        form: What all frames of a recording have in common: version, layer, sample rate, is mono.
        n_bytes: 0 in a frame of "any rate", where it has to be found out.
        padding: Bytes of it that not every frame has.
    """

    form: tuple[int, int, int, bool]
    n_bytes: int
    padding: int

    @property
    def sample_rate(self) -> int:
        return self.form[2]

    @property
    def channels(self) -> int:
        return 1 if self.form[3] else 2

    @property
    def n_samples(self) -> int:
        return _samples_in(self.form[0], self.form[1])


@dataclass(frozen=True)
class Tag:
    """What a frame without sound, in front of the others, says of a file; 0 where it says nothing.

    Args:
        n_frames: Frames with sound.
        n_bytes: Of the file, from the tag on.
        delay: Samples that the coder put in front.
        padding: Samples that the coder put behind.
    """

    n_frames: int
    n_bytes: int
    delay: int = 0
    padding: int = 0


@lru_cache(maxsize=4096)
def parse_header(header: bytes) -> Frame | None:
    """The four bytes that begin a frame; None where they cannot."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bit_rate == 15 or rate == 3:
        return None
    sample_rate = _SAMPLE_RATES[version][rate]
    bits = 1000 * _BIT_RATES[version == 3, layer][bit_rate]
    if layer == 1:
        n_bytes = 4 * (12 * bits // sample_rate + padding)
    else:
        n_bytes = _samples_in(version, layer) // 8 * bits // sample_rate + padding
    form = (version, layer, sample_rate, header[3] >> 6 == _MONO)
    return Frame(form, n_bytes if bits else 0, padding)


def read_tag(file: BinaryIO, position: int, head: bytes, frame: Frame) -> Tag | None:
    """The tag that a frame is; None where it has sound.

    Args:
        file: For what follows the head.
        position: Of the frame.
        head: Its first ``HEAD`` bytes.
        frame: What its header says.
    """
    version, layer, _, is_mono = frame.form
    if layer != 3:
        return None
    start = 4 + _SIDE_BYTES[version == 3, is_mono]
    name = b"VBRI" if head[36:40] == b"VBRI" else head[start : start + 4]
    if name not in (b"VBRI", b"Xing", b"Info"):
        return None
    file.seek(position)
    content = file.read(192)
    if name == b"VBRI":
        return Tag(int.from_bytes(content[50:54], "big"), int.from_bytes(content[46:50], "big"))
    flags, at = content[start + 7], start + 8
    numbers = []
    for flag in (1, 2):
        numbers.append(int.from_bytes(content[at : at + 4], "big") if flags & flag else 0)
        at += 4 * bool(flags & flag)
    at += 100 * bool(flags & 4) + 4 * bool(flags & 8)
    # The coder's name, twelve bytes of other things, and two numbers of twelve bits.
    if content[at : at + 4] not in (b"LAME", b"Lavc", b"Lavf"):
        return Tag(numbers[0], numbers[1])
    both = int.from_bytes(content[at + 21 : at + 24], "big")
    return Tag(numbers[0], numbers[1], delay=both >> 12, padding=both & 0xFFF)


def skip_tags(file: BinaryIO, position: int, size: int) -> int:
    """Where titles, pictures and lyrics that begin at a position end."""
    while position < size:
        file.seek(position)
        head = file.read(32)
        if head[:3] == b"ID3" and len(head) >= 10:
            # Seven bits per byte, and the tag's own header of ten bytes, once more at its end.
            length = sum((head[6 + i] & 0x7F) << (7 * (3 - i)) for i in range(4))
            position += 10 + length + (10 if head[5] & 0x10 else 0)
        elif head[:3] == b"TAG":
            position += 128
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            # The size counts the tag without its header; a footer alone has nothing behind it.
            is_header = head[23] & 0x20
            position += 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
        elif head[:11] == b"LYRICSBEGIN":
            file.seek(position)
            end = file.read(_LONGEST_LYRICS).find(b"LYRICS", 11)
            if end < 0:
                break
            position += end + 9
        else:
            break
    return min(position, size)


def _samples_in(version: int, layer: int) -> int:
    return {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
