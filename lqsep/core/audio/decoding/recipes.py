"""How each file is decoded: by which library, as it lies there or in a view, and how long it is.

libsndfile where it is right; where a header is not, libsndfile on a view in which it is; FFmpeg for
what libsndfile does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

from lqsep.core.audio.channel_order import order_in_file
from lqsep.core.audio.checks import BLOCK
from lqsep.core.audio.decoding.content import Kind, kind_of
from lqsep.core.audio.decoding.headers.chunks import sample_bytes
from lqsep.core.audio.decoding.headers.flac import find_links as find_flac_links
from lqsep.core.audio.decoding.headers.mpeg import Chain, find_chain
from lqsep.core.audio.decoding.headers.ogg import find_links as find_ogg_links
from lqsep.core.audio.decoding.headers.sds import damaged_packet
from lqsep.core.audio.decoding.program import FfmpegStream, find_ffmpeg
from lqsep.core.audio.decoding.pyav import PyavStream, load_av
from lqsep.core.audio.decoding.sndfile import SndfileStream, seeks_exactly
from lqsep.core.audio.decoding.streams import (
    DecodingError,
    JoinedStream,
    NotDecodedError,
    Recipe,
    count,
)
from lqsep.core.audio.decoding.views import FileView, Part

# Samples by which every decoder of layer III is late; what tags say of a delay is without them.
_MPEG_DELAY = 529

# A view of frames alone claims to be so many times as long: libsndfile gives no more than what it
# estimates from the length, and so it estimates enough.
_CLAIMED = 1000

# More samples than a file can have: libsndfile's way of saying that it does not know.
_UNKNOWN = 1 << 60

INSTALL = "to read them, install PyAV (pip install 'lqsep[formats]') or the program ffmpeg"
"""What to do about files that FFmpeg alone decodes."""

_COPY_AGAIN = "Copy or download it again"


def find_recipe(path: Path) -> Recipe:
    """Decide how a file is decoded. What was found is kept: some files have to be read for it.

    Raises:
        NotDecodedError: It is no audio file.
        DecodingError: It is damaged or cut short, or what decodes it is not installed.
        OSError: It cannot be read.
    """
    status = path.stat()
    return _recipe(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def has_ffmpeg() -> bool:
    """Whether FFmpeg is there, as PyAV or as a program; the former is not imported for this."""
    found = find_spec("av")
    return (found is not None and found.loader is not None) or find_ffmpeg() is not None


@lru_cache(maxsize=1024)
def _recipe(path: Path, *state: int) -> Recipe:
    """``state`` tells the file from what it was at another time."""
    kind = kind_of(path)
    if kind is Kind.FOREIGN:
        return _by_ffmpeg(path, "libsndfile does not read such files")
    makers = {Kind.MPEG: _mpeg, Kind.OGG: _ogg, Kind.FLAC: _flac}
    try:
        return makers.get(kind, _chunked)(path)
    except NotDecodedError as error:
        if kind is Kind.UNKNOWN:  # FFmpeg may take anything for sound
            raise
        return _by_ffmpeg(path, f"libsndfile cannot read it: {error}")


def _chunked(path: Path) -> Recipe:
    """Wav and its relatives, and all else that libsndfile reads."""
    if packet := damaged_packet(path):
        raise DecodingError(f"its packet {packet} is damaged or missing. {_COPY_AGAIN}")
    found = sample_bytes(path)
    if found.missing:
        raise DecodingError(
            f"the file is cut short, at least {found.missing} bytes are missing at its end. "
            f"{_COPY_AGAIN}"
        )
    recipe = _by_sndfile(path, found.parts)
    if recipe.subtype.startswith("MPEG"):  # mp3 in a wav file
        return _mpeg(path)
    if recipe.format == "SVX" and recipe.channels > 1:
        raise NotDecodedError("channels of 8svx files come out mixed up")
    return replace(recipe, warnings=(found.warning,) if found.warning else ())


def _mpeg(path: Path) -> Recipe:
    chain = find_chain(path)
    warnings = _mpeg_warnings(path, chain)
    tag = chain.tags[0] if len(chain.tags) == 1 else None
    is_whole = len(chain.ranges) == 1 and not chain.has_junk
    is_plain = is_whole and tag is not None and tag.n_frames == chain.n_frames
    # What the coder added, and every decoder.
    begin = chain.tags[0].delay + _MPEG_DELAY if chain.tags and chain.tags[0].delay else 0
    end = max(0, tag.padding - _MPEG_DELAY) if tag is not None and begin else 0
    if is_plain and not warnings:
        recipe = _by_sndfile(path)
        if 0 <= chain.n_samples - recipe.n_samples <= max(begin, _MPEG_DELAY) + end:
            return recipe
    n_samples = chain.n_samples - begin - end
    if n_samples < 1:
        begin, n_samples = 0, chain.n_samples
    recipe = _by_sndfile(
        path, list(chain.ranges), claimed=_CLAIMED, skip=begin, n_samples=n_samples
    )
    return replace(recipe, warnings=warnings)


def _mpeg_warnings(path: Path, chain: Chain) -> tuple[str, ...]:
    """What a user should know.

    Raises:
        DecodingError: The file is cut short.
    """
    notes = []
    tag = chain.tags[0] if chain.tags else None
    rate, frame = chain.first.sample_rate, chain.first.n_samples
    if tag is not None and tag.n_frames not in (0, chain.n_frames):
        promised_s, found_s = tag.n_frames * frame / rate, chain.n_samples / rate
        sizes = f"its header counts {promised_s:.2f} s"
        is_short = chain.n_cut > 0 or path.stat().st_size - chain.start < tag.n_bytes
        if tag.n_frames > chain.n_frames and is_short:
            raise DecodingError(
                f"the file is cut short: {sizes}, and {found_s:.2f} s are there. {_COPY_AGAIN}"
            )
        notes.append(f"{sizes}, its frames {found_s:.2f} s, which are read")
    if chain.n_cut:
        notes.append("its last frame is incomplete; is it cut short?")
    if chain.skipped:
        notes.append(f"{chain.skipped} bytes between its frames are no sound and were left out")
    return tuple(notes)


def _ogg(path: Path) -> Recipe:
    links, missing = find_ogg_links(path)
    if missing:
        raise DecodingError(
            f"the file is cut short, at least {missing} bytes are missing at its end. {_COPY_AGAIN}"
        )
    if not all(link.is_known for link in links):
        raise NotDecodedError("neither Vorbis nor Opus alone is in it")
    return _joined([_by_sndfile(path, [(link.start, link.stop)]) for link in links], path)


def _flac(path: Path) -> Recipe:
    recipes = []
    for link in find_flac_links(path):
        recipe = _by_sndfile(path, link.parts)
        if not link.is_right:
            promised_s = link.n_promised / recipe.sample_rate
            found_s = recipe.n_samples / recipe.sample_rate
            note = f"its header counts {promised_s:.2f} s, its frames {found_s:.2f} s, which are"
            recipe = replace(recipe, can_seek=False, warnings=(f"{note} read",))
        recipes.append(recipe)
    return _joined(recipes, path)


def _joined(recipes: Sequence[Recipe], path: Path) -> Recipe:
    """Recordings one after the other; those without samples are left out."""
    recipes = [recipe for recipe in recipes if recipe.n_samples] or recipes[:1]
    if not recipes:
        return _by_sndfile(path)
    first, n_samples = recipes[0], 0
    for recipe in recipes:
        if (recipe.sample_rate, recipe.channels) != (first.sample_rate, first.channels):
            raise DecodingError(
                "its sample rate or number of channels changes at "
                f"{n_samples / first.sample_rate:.2f} s; convert it to one form first"
            )
        n_samples += recipe.n_samples
    if len(recipes) == 1:
        return first
    return replace(
        first,
        open=partial(JoinedStream, [recipe.open for recipe in recipes]),
        n_samples=n_samples,
        can_seek=False,
        warnings=tuple(note for recipe in recipes for note in recipe.warnings),
    )


def _by_sndfile(
    path: Path,
    parts: Sequence[Part] = (),
    *,
    claimed: int = 1,
    skip: int = 0,
    n_samples: int | None = None,
) -> Recipe:
    """A file or a view of it, decoded by libsndfile.

    Args:
        path: The file.
        parts: Of the view; none, or the whole file in one: no view is needed.
        claimed: See `FileView`.
        skip: Samples to be dropped at the beginning.
        n_samples: Of what follows them; None: as libsndfile has it, or by counting.
    """
    view = partial(FileView, path, parts, claimed)
    is_whole = claimed == 1 and tuple(parts) in ((), ((0, path.stat().st_size),))
    open_stream = partial(
        SndfileStream, path, view=None if is_whole else view, skip=skip, length=n_samples
    )
    stream = open_stream()
    stream.close()
    order = order_in_file(stream.format, stream.subtype, stream.channels)
    is_known = stream.n_promised < _UNKNOWN
    if n_samples is None:
        n_samples = stream.n_promised if is_known else count(open_stream)
    return Recipe(
        open=partial(open_stream, order=order),
        sample_rate=stream.sample_rate,
        channels=stream.channels,
        n_samples=n_samples,
        format=stream.format,
        subtype=stream.subtype,
        can_seek=is_known and seeks_exactly(stream),
    )


def _by_ffmpeg(path: Path, why: str) -> Recipe:
    """Decoded once to count the samples: headers of these formats do not tell them exactly."""
    decoder: type[PyavStream] | type[FfmpegStream] = PyavStream
    try:
        load_av()
    except ImportError as error:
        if find_ffmpeg() is None:
            raise DecodingError(f"{why}; {INSTALL}") from error
        decoder = FfmpegStream
    stream = decoder(path)
    try:
        n_samples = 0
        while n_read := len(stream.read(BLOCK)):
            n_samples += n_read
        rate, channels = stream.form
        return Recipe(
            open=partial(decoder, path),
            sample_rate=rate,
            channels=channels,
            n_samples=n_samples,
            format=stream.format,
            subtype=stream.subtype,
            warnings=stream.warnings(),
        )
    finally:
        stream.close()
