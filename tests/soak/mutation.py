"""Small damage to bytes, texts and numbers, all drawn from one `random.Random`."""

from __future__ import annotations

import random
import re

_EXTREMES = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF)
_EXTREMES_32 = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 16, 1 << 24)

# What a value of a text may become.
VALUES = (
    "0", "-1", "1", "-0.0", "1e308", "-1e308", "1e-320", "nan", "inf", "-inf", "true", "false",
    '""', '"x"', "[]", "{}", "[[1]]", "9223372036854775807", "9223372036854775808", "1" + "0" * 400,
    "0x10", '"../../x"', '"/dev/null"', '"/"', '"."', '"~"', '"\\u0000"', '"\\ud800"',
    '"' + "a" * 300 + '"', "1979-05-27", "07:32:00", "4097", "1000000", "0.5", "1.5",
    "null", "*", "&a", "!!python/name:x",
)  # fmt: skip


def damaged(data: bytes, draw: random.Random, *, header: int = 64) -> bytes:
    """Bytes with one to four faults; half of them in the first ``header`` bytes."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        _damage(found, draw, header)
    return bytes(found)


def _damage(data: bytearray, draw: random.Random, header: int) -> None:
    size = len(data)
    if not size:
        data += draw.randbytes(draw.randint(0, 64))
        return
    area = min(size, header) if draw.random() < 0.5 else size
    at = draw.randrange(area)
    kind = draw.choice(
        ("bit", "byte", "16", "32", "64", "cut", "extend", "remove", "repeat", "run")
    )
    if kind == "bit":
        data[at] ^= 1 << draw.randrange(8)
    elif kind == "byte":
        data[at] = draw.choice((0, 0xFF, 0x7F, draw.randrange(256)))
    elif kind in ("16", "32", "64"):
        width = int(kind) // 8
        value = draw.choice(_EXTREMES if width == 2 else _EXTREMES_32)
        at -= at % 2
        raw = value.to_bytes(width, draw.choice(("little", "big")))
        data[at : at + width] = raw[: max(0, size - at)]
    elif kind == "cut":
        del data[at:]
    elif kind == "extend":
        data += draw.choice((bytes(draw.randint(1, 4096)), draw.randbytes(draw.randint(1, 4096))))
    elif kind == "remove":
        del data[at : at + draw.randint(1, 64)]
    elif kind == "repeat":
        piece = data[at : at + draw.randint(1, 256)]
        data[at:at] = piece * draw.randint(1, 4)
    else:
        length = draw.randint(1, 512)
        data[at : at + length] = bytes([draw.choice((0, 0xFF))]) * min(length, size - at)


_VALUE = re.compile(r"(?<=[=:,\[{]) *(\"[^\"\n]*\"|[\w.+-]+)")


def damaged_text(text: str, draw: random.Random) -> str:
    """A text of keys and values, such as TOML or YAML, with one to three faults."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        lines = text.splitlines() or [""]
        at = draw.randrange(len(lines))
        kind = draw.choice(("value", "value", "value", "value", "drop", "repeat", "swap", "bytes"))
        if kind == "value":
            found = list(_VALUE.finditer(text))
            if found:
                match = draw.choice(found)
                text = text[: match.start(1)] + draw.choice(VALUES) + text[match.end(1) :]
            continue
        if kind == "drop":
            del lines[at]
        elif kind == "repeat":
            lines.insert(draw.randrange(len(lines) + 1), lines[at])
        elif kind == "swap":
            other = draw.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            raw = damaged(
                "\n".join(lines).encode("utf-8", errors="surrogateescape"), draw, header=1 << 20
            )
            text = raw.decode("utf-8", errors="surrogateescape")
            continue
        text = "\n".join(lines) + "\n"
    return text


def write_damaged_text(text: str, draw: random.Random) -> bytes:
    """Its bytes; they need not be UTF-8."""
    return damaged_text(text, draw).encode("utf-8", errors="surrogateescape")
