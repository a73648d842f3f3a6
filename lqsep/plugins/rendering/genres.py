"""Pattern tables of the composed genres: data only, read by ``compose``.

A pattern is a string with one character per grid step of a bar. Drum patterns: ``X`` accent, ``x``
hit, ``o`` ghost note, ``?`` a hit in half of the bars, ``.`` nothing. Bass patterns: ``R`` root,
``3`` ``5`` ``6`` ``7`` ``8`` degrees of the chord, ``a`` chromatic approach to the next root, ``d``
its fifth, ``w`` walking note, ``x`` muted ghost note, ``-`` hold, ``.`` rest.
"""

from __future__ import annotations

from dataclasses import dataclass

# General MIDI percussion keys.
KICK, SIDE_STICK, SNARE, CLAP = 36, 37, 38, 39
CLOSED_HAT, PEDAL_HAT, OPEN_HAT = 42, 44, 46
CRASH, RIDE, RIDE_BELL, TAMBOURINE, COWBELL = 49, 51, 53, 54, 56
TOMS = (50, 48, 47, 45, 43, 41)
HIGH_CONGA, LOW_CONGA, MUTED_CONGA, CABASA, CLAVES, SHAKER = 63, 64, 62, 69, 75, 82

Layer = tuple[tuple[int, str], ...]
"""Percussion lines played together, as (key, pattern)."""


@dataclass(frozen=True, kw_only=True)
class Genre:
    """What a genre may choose from; ``compose`` draws one of each per section."""

    name: str
    tempo: tuple[int, int]
    kicks: tuple[str, ...]
    snares: tuple[Layer, ...]
    cymbals: tuple[Layer, ...]
    basses: tuple[str, ...]
    progressions: tuple[str, ...]
    extras: tuple[Layer, ...] = ()
    steps_per_beat: int = 4
    swing: tuple[float, float] = (0.0, 0.0)
    timing_ms: tuple[float, float] = (2.0, 9.0)
    kits: tuple[int, ...] = (0, 8, 16)
    programs: tuple[int, ...] = (33, 34)

    @property
    def steps_per_bar(self) -> int:
        """Grid steps in one bar."""
        return len(self.kicks[0])


_HATS_8: Layer = ((CLOSED_HAT, "X.x.X.x.X.x.X.x."),)
_HATS_8_OPEN: Layer = ((CLOSED_HAT, "X.x.X.x.X.x.X..."), (OPEN_HAT, "..............x."))
_HATS_4: Layer = ((CLOSED_HAT, "x...x...x...x..."),)
_HATS_16: Layer = ((CLOSED_HAT, "XoxoXoxoXoxoXoxo"),)
_HATS_OFF: Layer = ((OPEN_HAT, "..x...x...x...x."),)
_HATS_OFF_16: Layer = ((CLOSED_HAT, "xo.oxo.oxo.oxo.o"), (OPEN_HAT, "..x...x...x...x."))
_RIDE_8: Layer = ((RIDE, "X.x.X.x.X.x.X.x."),)
_RIDE_4: Layer = ((RIDE, "x...x...x...x..."), (PEDAL_HAT, "....x.......x..."))
_BACKBEAT: Layer = ((SNARE, "....X.......X..."),)
_BACKBEAT_GHOST: Layer = ((SNARE, "....X..o.o..X..o"),)
_BACKBEAT_CLAP: Layer = ((SNARE, "....x.......x..."), (CLAP, "....X.......X..."))
_CLAPS: Layer = ((CLAP, "....X.......X..."),)
_STICK: Layer = ((SIDE_STICK, "....X.......X..."),)

_MAJOR = ("I V vi IV", "I vi IV V", "I IV V IV", "vi IV I V", "I iii IV V", "I bVII IV I")
_MINOR = ("i bVI bIII bVII", "i iv v i", "i bVII bVI v", "i i iv bVII", "i bIII bVII iv")
_VAMP = ("i i i i", "i i IV IV", "i i bVII bVII", "I I bVII IV", "i IV i bIII")
_FOUR = ("x...x...x...x...",)

GENRES: tuple[Genre, ...] = (
    Genre(
        name="rock",
        tempo=(90, 150),
        kicks=("X.......X.......", "X.....x.X.......", "X.x.....X.x.....", "X.......x.X....."),
        snares=(_BACKBEAT, _BACKBEAT_GHOST),
        cymbals=(_HATS_8, _RIDE_8, _HATS_8_OPEN, ((OPEN_HAT, "X...x...X...x..."),)),
        basses=("R-R-R-R-R-R-R-R-", "R---R-R-R---R-a-", "R-----R-5---5-a-", "R-R-R-5-R-R-8-5-"),
        progressions=_MAJOR + _MINOR,
        programs=(33, 34, 34, 36),
        kits=(0, 8, 16),
    ),
    Genre(
        name="punk",
        tempo=(150, 180),
        kicks=("X...x...X...x...", "X.x...x.X.x...x.", "X.....x.X.x....."),
        snares=(_BACKBEAT, ((SNARE, "..X...X...X...X."),)),
        cymbals=(_HATS_8, ((OPEN_HAT, "X...X...X...X..."),), _RIDE_8),
        basses=("R-R-R-R-R-R-R-R-", "R-R-R-R-5-5-5-5-", "R-R-R-R-R-R-a-a-"),
        progressions=("I IV V V", "I V vi IV", "i bVI bVII i"),
        programs=(34,),
        kits=(0, 16),
        timing_ms=(3, 10),
    ),
    Genre(
        name="pop",
        tempo=(88, 130),
        kicks=("X.......X.x.....", "X..x..x.X..x....", "X.....x...x.....", "X...X...X...X..."),
        snares=(_BACKBEAT, _BACKBEAT_CLAP, _STICK),
        cymbals=(_HATS_8, _HATS_16, _HATS_OFF_16, _HATS_4),
        extras=(((TAMBOURINE, "..x...x...x...x."),), ((SHAKER, "xoxoxoxoxoxoxoxo"),)),
        basses=("R---------------", "R--R--R-R--R--a-", "R-------5-----8-", "R-.R-.R-5-.5-.3-"),
        progressions=_MAJOR + _MINOR,
        programs=(33, 34, 38, 39),
        kits=(0, 8, 16, 24, 25),
    ),
    Genre(
        name="funk",
        tempo=(90, 118),
        kicks=("X..x......x..x..", "X.x....x..x.....", "X.....x..xx....x", "Xx......x.x..x.."),
        snares=(((SNARE, "....X..o.o.oX..o"),), ((SNARE, "o.o.X..o.o..X.oo"),), _BACKBEAT_GHOST),
        cymbals=(
            _HATS_16,
            _HATS_8_OPEN,
            ((CLOSED_HAT, "XxxxXxx.XxxxXxxx"), (OPEN_HAT, ".......x........")),
        ),
        basses=(
            "R.xR..8.x7.5..a.",
            "R-.x8.xR..7-R.a.",
            "RR.8..7.5.R..3ad",
            "R...x.8xR.x.7.8.",
            "R-..R.5.7.8..x.a",
        ),
        progressions=_VAMP,
        programs=(36, 37, 33, 34, 36, 37),
        kits=(0, 8, 16),
        swing=(0.0, 0.2),
    ),
    Genre(
        name="soul",
        tempo=(84, 128),
        kicks=("X.....x.x.x.....", "X..x..x.X.......", "X.......x..x...."),
        snares=(_BACKBEAT_GHOST, _BACKBEAT, ((SNARE, "X...X...X...X..."),)),
        cymbals=(_HATS_8, _HATS_16, _RIDE_8),
        extras=(
            ((TAMBOURINE, "x.xxX.xxx.xxX.xx"),),
            ((LOW_CONGA, "x......x..x....."), (HIGH_CONGA, "...x..x.....x.x.")),
        ),
        basses=("R-.R..5-8-.6..5-", "R--x3-5-6-5-3-a-", "R-..R-3-5-.5.6a-", "R...5.6-8.6.5.a."),
        progressions=("I vi ii V", "I IV I V", "I iii vi IV", "i iv bVII i"),
        programs=(33, 34, 32),
        kits=(0, 8, 32),
        swing=(0.0, 0.15),
    ),
    Genre(
        name="disco",
        tempo=(108, 130),
        kicks=_FOUR,
        snares=(_BACKBEAT, _BACKBEAT_CLAP),
        cymbals=(_HATS_OFF, _HATS_OFF_16, _HATS_16),
        extras=(((COWBELL, "x...x.x.x...x.x."),), ((TAMBOURINE, "..x...x...x...x."),)),
        basses=("R-8-R-8-R-8-R-8-", "R.8.R.8.5.8.R.a.", "R-.R8-.R5-.58-.a", "R--R..8-R--5..8-"),
        progressions=_MINOR + ("i IV i IV", "I vi ii V"),
        programs=(33, 34, 36, 38),
        kits=(0, 8, 24),
        timing_ms=(1, 5),
    ),
    Genre(
        name="house",
        tempo=(116, 130),
        kicks=_FOUR,
        snares=(
            _CLAPS,
            ((CLAP, "....X..x....X..."),),
            ((CLAP, "....X.......X..?"), (SIDE_STICK, "..x..x....x..x..")),
        ),
        cymbals=(_HATS_OFF, _HATS_OFF_16, ((CLOSED_HAT, "..x...x...x...xo"),)),
        extras=(((SHAKER, "xoXoxoXoxoXoxoXo"),), ((HIGH_CONGA, "..x..x.x..x..x.."),)),
        basses=("..R...R...R...R.", "R..R..R...8.R...", ".RR..RR..RR..RR.", "R-.R-.R-..R-.8.5"),
        progressions=_VAMP + _MINOR,
        programs=(38, 39, 38, 39, 35),
        kits=(24, 25, 25, 24),
        timing_ms=(0, 1.5),
        swing=(0.0, 0.2),
    ),
    Genre(
        name="techno",
        tempo=(124, 145),
        kicks=("X...X...X...X...", "X...X...X...X.x."),
        snares=(
            ((CLAP, "....x.......x..."),),
            ((SIDE_STICK, "...x..x....x..x."),),
            ((CLAP, "............X..."),),
        ),
        cymbals=(
            _HATS_OFF,
            _HATS_16,
            ((CLOSED_HAT, "xxxxxxxxxxxxxxxx"), (RIDE, "..x...x...x...x.")),
        ),
        basses=(".RRR.RRR.RRR.RRR", "R.RR.R8.R.RR.R7.", "..R-..R-..R-..R-", "R--R--R--R--R-R-"),
        progressions=("i i i i", "i i i bVI", "i i bII i"),
        programs=(38, 39),
        kits=(24, 25),
        timing_ms=(0, 1),
    ),
    Genre(
        name="drum-and-bass",
        tempo=(160, 180),
        kicks=("X.........x.....", "X.x.......x.....", "X.........x..x..", "X.....x...x....."),
        snares=(_BACKBEAT, ((SNARE, "....X..o.o..X..o"),), ((SNARE, "....X..x.x..X.x."),)),
        cymbals=(_HATS_8, _HATS_16, _RIDE_8, _RIDE_4),
        basses=(
            "R---------------",
            "R-----R---8-----",
            "R--R--5---7-----",
            "R-----------a---",
            "..R---R-..R-8-7-",
        ),
        progressions=_MINOR + ("i i bVI bVII", "i i i i"),
        programs=(38, 39, 33, 39),
        kits=(0, 16, 24, 25),
        timing_ms=(0, 4),
    ),
    Genre(
        name="hip-hop",
        tempo=(75, 102),
        kicks=("X.....x...x.....", "X..x......xx....", "X......x.xx.....", "X.x.......x..x.."),
        snares=(_BACKBEAT, _CLAPS, _BACKBEAT_GHOST),
        cymbals=(_HATS_8, _HATS_16, _HATS_8_OPEN, ((CLOSED_HAT, "x.x.x.xxx.x.xxxx"),)),
        basses=(
            "R-----R---R-----",
            "R--R------RR-..a",
            "R-------..5-7-..",
            "R------8..7-5-..",
            "R-.-----R-..R-..",
        ),
        progressions=_VAMP + _MINOR,
        programs=(33, 35, 38, 39, 32),
        kits=(0, 24, 25, 16),
        swing=(0.1, 0.4),
    ),
    Genre(
        name="trap",
        tempo=(70, 84),
        kicks=("X.....x...x.....", "X..x..........x.", "X......x..x..x.."),
        snares=(
            ((CLAP, "........X......."),),
            ((SNARE, "........X......."), (CLAP, "........x..?....")),
            _CLAPS,
        ),
        cymbals=(_HATS_16, ((CLOSED_HAT, "x.x.xxx.x.x.xxxx"),), _HATS_8),
        basses=("R-----R---R-----", "R--R----------a-", "R------R--5--7--"),
        progressions=("i i bVI bVI", "i i bVII bVI", "i i iv v"),
        programs=(38, 39, 39),
        kits=(25, 24),
        timing_ms=(0, 2),
    ),
    Genre(
        name="reggae",
        tempo=(70, 96),
        kicks=("........X.......", "X.......X.......", "X...X...X...X..."),
        snares=(
            ((SIDE_STICK, "........X......."),),
            ((SIDE_STICK, "..?.....X.....?."),),
            ((SNARE, "........X......?"),),
        ),
        cymbals=(_HATS_8, ((CLOSED_HAT, "..X...X...X...X."),), ((CLOSED_HAT, "xo.oxo.oxo.oxo.o"),)),
        basses=(
            "R-..R-..5-..3-..",
            "..R-R-3-5-..5-3-",
            "R--R..3-5---....",
            "R-..5-8-..5-3-..",
            "....R-R-3-5-R-..",
        ),
        progressions=("i i iv iv", "I IV I IV", "I ii I ii", "i bVII i bVII", "I V vi IV"),
        programs=(33, 32, 35),
        kits=(0, 8),
        swing=(0.05, 0.35),
    ),
    Genre(
        name="jazz-swing",
        tempo=(100, 180),
        steps_per_beat=3,
        kicks=("o..o..o..o..", "..........?.", "x....?......", "?.....?..?.."),
        snares=(
            ((SNARE, "..?..?.....?"),),
            ((SNARE, "...o..?..o.."),),
            ((SIDE_STICK, ".........x.."),),
        ),
        cymbals=(
            ((RIDE, "X..X.xX..X.x"), (PEDAL_HAT, "...x.....x..")),
            ((RIDE, "X..X.xX.xX.x"), (PEDAL_HAT, "...x.....x..")),
        ),
        basses=("w--w--w--w--", "w--w--w--w-w", "w--w-xw--w--"),
        progressions=("ii V I VI", "I vi ii V", "ii V I I", "iii VI ii V", "i i iv iv", "I IV I I"),
        programs=(32, 32, 32, 33, 35),
        kits=(32, 40, 0),
        timing_ms=(4, 12),
    ),
    Genre(
        name="blues-shuffle",
        tempo=(80, 140),
        steps_per_beat=3,
        kicks=("X.....X.....", "X..x..X..x..", "X....xX....."),
        snares=(((SNARE, "...X.....X.."),), ((SNARE, "..oX.o..oX.o"),)),
        cymbals=(((CLOSED_HAT, "X.xX.xX.xX.x"),), ((RIDE, "X.xX.xX.xX.x"),)),
        basses=("R-.3-.5-.6-.", "R-RR-R5-56-6", "R-.R-.5-.a-.", "w--w--w--w--"),
        progressions=("I I I I IV IV I I V IV I V", "I IV I I IV IV I I V IV I I"),
        programs=(33, 34, 32),
        kits=(0, 8, 32),
    ),
    Genre(
        name="ballad",
        tempo=(70, 88),
        steps_per_beat=3,
        kicks=("X.....X.....", "X.....X.x...", "X....xX....."),
        snares=(((SNARE, "...X.....X.."),), ((SIDE_STICK, "...X.....X.."),)),
        cymbals=(((CLOSED_HAT, "XooXooXooXoo"),), ((RIDE, "x..x..x..x.."),)),
        basses=("R-----------", "R-----5--3a-", "R----R5--8--", "R-----R--a--"),
        progressions=_MAJOR,
        programs=(33, 35, 32, 34),
        kits=(0, 8, 40),
    ),
    Genre(
        name="waltz",
        tempo=(90, 160),
        steps_per_beat=2,
        kicks=("X.....", "X....?"),
        snares=(((SNARE, "..o.o."),), ((SIDE_STICK, "..x.x."),)),
        cymbals=(((RIDE, "X.x.x."), (PEDAL_HAT, "..x.x.")), ((CLOSED_HAT, "x.x.x."),)),
        basses=("R-----", "R---5-", "R-3-5-", "w-w-w-"),
        progressions=("I vi ii V", "I I IV V", "i iv V i"),
        programs=(32, 33, 35),
        kits=(0, 32, 40),
    ),
    Genre(
        name="bossa-nova",
        tempo=(100, 145),
        kicks=("X.....x.X.....x.", "X.....x.X......."),
        snares=(((SIDE_STICK, "x.....x.....x..."),), ((SIDE_STICK, "x.....x...x....."),)),
        cymbals=(_HATS_8, ((SHAKER, "XoxoXoxoXoxoXoxo"), (PEDAL_HAT, "....x.......x..."))),
        basses=("R-----5-5-----R-", "R-----5-8-----5-", "R-----R-5-----a-"),
        progressions=("I II ii V", "i iv bVII bIII", "I vi ii V", "i i ii V"),
        programs=(32, 32, 33, 35),
        kits=(0, 32, 40),
    ),
    Genre(
        name="latin",
        tempo=(88, 120),
        kicks=("X.....x.....x...", "...x......x.....", "X...X...X...X..."),
        snares=(((SIDE_STICK, "x..x...x..x.x..."),), ((SNARE, "...?........x.x."),)),
        cymbals=(((COWBELL, "X.x.X.xxX.x.X.xx"),), ((RIDE_BELL, "X.xx.xx.X.xx.xx."),), _HATS_8),
        extras=(
            (
                (MUTED_CONGA, "x.x.X.x.x.x....."),
                (HIGH_CONGA, "....x..........."),
                (LOW_CONGA, "............x.x."),
            ),
            ((CLAVES, "x..x..x...x.x..."),),
            ((CABASA, "xoxoxoxoxoxoxoxo"),),
        ),
        basses=("......5-----8---", "R-----5-----R---", "R--5--8-R--5--8-", "......R-----d---"),
        progressions=("i iv V i", "I IV V IV", "i bVII bVI V", "i V i V"),
        programs=(32, 33, 32),
        kits=(0, 8),
    ),
    Genre(
        name="country",
        tempo=(95, 160),
        kicks=("X.......X.......", "X...x...X...x..."),
        snares=(_BACKBEAT, ((SNARE, "o.x.X.x.o.x.X.x."),), ((SNARE, "..x...x...x...x."),)),
        cymbals=(_HATS_8, _HATS_4, _HATS_OFF),
        basses=("R---....5---....", "R---....5---a-a-", "R-------5-------", "R---3---5---6---"),
        progressions=("I IV V I", "I I IV V", "I V I I"),
        programs=(32, 33, 34),
        kits=(0, 8, 40),
    ),
)
