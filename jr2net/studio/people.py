"""Random people: everything about a person that is constant over the frames, drawn from one random generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Skin reflectance from very light to very dark (the range of the Monk scale), RGB in [0, 1].
_SKIN_TONES = np.array(
    [
        [0.93, 0.76, 0.69],
        [0.91, 0.69, 0.59],
        [0.86, 0.61, 0.50],
        [0.79, 0.54, 0.42],
        [0.69, 0.46, 0.34],
        [0.56, 0.36, 0.26],
        [0.43, 0.27, 0.19],
        [0.31, 0.195, 0.14],
    ]
)

_HAIR_COLOURS = np.array(
    [
        [0.035, 0.03, 0.03],  # black
        [0.07, 0.05, 0.04],  # near black
        [0.14, 0.09, 0.06],  # dark brown
        [0.25, 0.16, 0.10],  # brown
        [0.40, 0.28, 0.18],  # light brown
        [0.66, 0.52, 0.34],  # blond
        [0.80, 0.70, 0.52],  # fair
        [0.42, 0.18, 0.08],  # red
        [0.45, 0.43, 0.42],  # grey
        [0.80, 0.79, 0.78],  # white
    ]
)
_DARK_SKIN_HAIR = (0.55, 0.3, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.03, 0.02)
_FAIR_SKIN_HAIR = (0.14, 0.18, 0.19, 0.15, 0.10, 0.08, 0.04, 0.04, 0.05, 0.03)

_IRIS_COLOURS = np.array(
    [[0.13, 0.07, 0.04], [0.22, 0.12, 0.06], [0.30, 0.22, 0.10], [0.25, 0.33, 0.25], [0.28, 0.38, 0.50]]
)

# Azimuths around the crown (degrees from the front) at which hairlines are sampled.
HAIRLINE_AZIMUTHS = np.array([0.0, 25.0, 45.0, 62.0, 80.0, 100.0, 130.0, 180.0])
# Polar angles (degrees from the crown) down to which hair grows, for each style.
_HAIRLINES = {
    "full": [80, 80, 82, 84, 101, 97, 108, 114],
    "high": [72, 72, 74, 80, 100, 97, 108, 114],
    "receding": [70, 62, 56, 70, 99, 97, 108, 114],
    "bald": [12, 12, 14, 20, 30, 88, 106, 112],
    "fringe": [99, 99, 98, 95, 103, 98, 110, 114],
    "parted": [74, 82, 90, 94, 103, 98, 110, 114],
}


@dataclass(frozen=True)
class Hair:
    """Hair of the head. Angles in degrees, lengths in mm.

    highlight  colour of the sheen, and of the hat
    hairline   (8,) polar angles at HAIRLINE_AZIMUTHS;  lean: how much further it reaches on the subject's left
    thickness  of the shell on top and at the sides; 0: shaven
    length     of the hanging hair below the eyes, 0: none;  front: azimuth from which it hangs
    curl       0 straight … 1 curly;  ragged: unevenness of the edges, degrees
    stubble    opacity of cropped hair on the scalp
    cloth      the shell is a hat or scarf instead of hair
    """

    colour: np.ndarray
    highlight: np.ndarray
    hairline: np.ndarray
    lean: float
    thickness: tuple[float, float]
    length: float
    front: float
    curl: float
    ragged: float
    stubble: float
    cloth: bool


@dataclass(frozen=True)
class Glasses:
    """Glasses.

    colour, rim  of the frame; rim width in mm
    lens         half axes of a lens, mm;  roundness: exponent of its superellipse (2: ellipse, larger: box)
    tint         colour of the lens;  opacity of the tint;  reflection: strength of reflections on the lens
    """

    colour: np.ndarray
    rim: float
    lens: tuple[float, float]
    roundness: float
    rimless: bool
    tint: np.ndarray
    opacity: float
    reflection: float


@dataclass(frozen=True)
class Clothes:
    """Clothes on neck and shoulders.

    kind      shirt, suit (with ``inner`` shirt and tie), turtleneck or bare
    pattern   plain, stripes, checks, noise or dots, with a period of about ``pattern_scale`` mm
    neckline  depth of the front opening, mm
    """

    kind: str
    colour: np.ndarray
    inner: np.ndarray
    tie: np.ndarray
    pattern: str
    pattern_colour: np.ndarray
    pattern_scale: float
    neckline: float


@dataclass(frozen=True)
class Person:
    """One person of the studio. Colours are reflectances, RGB (3,) float32; densities and strengths lie in [0, 1].

    identity (K,), albedo (A,)  coefficients of the face model, in standard deviations
    tone, lips, iris            mean colour of the skin, colour of the lips (with make-up) and of the irises
    make_up                     strength of lipstick and eye make-up
    brow                        density, and width in mm
    beard                       density on the cheeks, the chin and the upper lip, and length (0 stubble … 1 full)
    blotches, pores             contrast of patches and of grain in the skin
    gloss                       strength of the skin's highlights
    ear_scale, neck_scale       factors on the sizes of an average adult
    neck_drop                   extra length of the neck, mm
    texture_seed                seed of all further detail of this person
    """

    identity: np.ndarray
    albedo: np.ndarray
    tone: np.ndarray
    lips: np.ndarray
    make_up: float
    iris: np.ndarray
    brow: tuple[float, float]
    beard: tuple[float, float, float, float]
    beard_colour: np.ndarray
    blotches: float
    pores: float
    freckles: float
    wrinkles: float
    moles: int
    gloss: float
    hair: Hair
    glasses: Glasses | None
    clothes: Clothes
    ear_scale: float
    neck_scale: float
    neck_drop: float
    texture_seed: int


def draw_person(rng: np.random.Generator, sizes: dict[str, int]) -> Person:
    """Draws a person for a face model with ``sizes["identity"]`` and ``sizes["albedo"]`` bases."""
    position = rng.beta(0.9, 1.5) * (len(_SKIN_TONES) - 1)
    tone = _between(_SKIN_TONES, position) * rng.normal(0.92, 0.025, 3)
    masculine = rng.random() < 0.5
    dark = position > 4.2
    age = rng.beta(1.5, 2.0)
    hair = _draw_hair(rng, masculine, dark, age)
    iris = _IRIS_COLOURS[0] if dark else _IRIS_COLOURS[rng.integers(len(_IRIS_COLOURS))]
    make_up = 0.0 if masculine else rng.beta(1, 1.5)
    lipstick = np.array([rng.uniform(0.5, 0.85), rng.uniform(0.08, 0.3), rng.uniform(0.12, 0.35)])
    return Person(
        identity=rng.normal(0, 1, sizes["identity"]).astype(np.float32),
        albedo=rng.normal(0, 0.6, sizes["albedo"]).astype(np.float32),
        tone=_colour(tone),
        lips=_colour(tone * [0.88, 0.66, 0.68] * (1 - make_up) + lipstick * make_up),
        make_up=make_up,
        iris=_colour(iris * rng.uniform(0.7, 1.3)),
        brow=(rng.uniform(0.15, 1.0), rng.uniform(3.0, 8.0) if masculine else rng.uniform(2.0, 5.5)),
        beard=_draw_beard(rng) if masculine and rng.random() < 0.55 else (0.0, 0.0, 0.0, 0.0),
        beard_colour=_colour(hair.colour * rng.uniform(0.7, 1.2) + rng.uniform(0, 0.25) * (age > 0.7)),
        blotches=rng.uniform(0.0, 0.05),
        pores=rng.uniform(0.0, 0.06),
        freckles=rng.uniform(0.1, 0.5) if rng.random() < 0.15 else 0.0,
        wrinkles=max(0.0, age - 0.35) * rng.uniform(0.2, 0.9),
        moles=int(rng.poisson(0.8)),
        gloss=rng.beta(1, 2) * 0.3,
        hair=hair,
        glasses=_draw_glasses(rng) if rng.random() < 0.2 else None,
        clothes=_draw_clothes(rng, masculine),
        ear_scale=rng.uniform(0.75, 1.08),
        neck_scale=rng.uniform(0.95, 1.25) if masculine else rng.uniform(0.8, 1.0),
        neck_drop=rng.uniform(-58, -8) if masculine else rng.uniform(-42, 8),
        texture_seed=int(rng.integers(1 << 31)),
    )


def _colour(values: np.ndarray) -> np.ndarray:
    """RGB reflectance (3,) float32 in [0, 1]."""
    return np.clip(values, 0.005, 1).astype(np.float32)


def _between(table: np.ndarray, position: float) -> np.ndarray:
    """Linear interpolation between the rows of a table."""
    low = min(int(position), len(table) - 2)
    return table[low] + (position - low) * (table[low + 1] - table[low])


def _draw_hair(rng: np.random.Generator, masculine: bool, dark: bool, age: float) -> Hair:
    colour = _HAIR_COLOURS[rng.choice(len(_HAIR_COLOURS), p=_DARK_SKIN_HAIR if dark else _FAIR_SKIN_HAIR)]
    if age > 0.7 and rng.random() < 0.5:
        colour = colour + (0.5 - colour) * rng.uniform(0.3, 0.9)
    colour = _colour(colour * rng.uniform(0.7, 1.35) + rng.normal(0, 0.01, 3))
    if rng.random() < 0.01:
        colour = _colour(rng.uniform(0.05, 0.8, 3))  # dyed
    long = rng.random() < (0.06 if masculine else 0.72)
    odds = [0.34, 0.22, 0.14, 0.12, 0.12, 0.06] if masculine else [0.28, 0.18, 0.01, 0.01, 0.27, 0.25]
    style = str(rng.choice(list(_HAIRLINES), p=odds))
    hairline = np.array(_HAIRLINES[style], float) + rng.normal(0, 2.5, 8) + rng.normal(0, 2)
    if style == "fringe":
        hairline[:3] += rng.uniform(-10, 5)
    curl = rng.beta(2, 1.5) if dark else rng.beta(0.7, 1.5)
    cropped = masculine and rng.random() < 0.3
    top = rng.uniform(1, 6) if cropped else rng.uniform(8, 34) + 22 * curl * (rng.random() < 0.4)
    side = rng.uniform(1, 5) if cropped else rng.uniform(2, 14) + 0.6 * (long + curl) * rng.uniform(0, 28)
    if style == "bald":
        top, side = 1.0, rng.uniform(0.5, 5)
    return Hair(
        colour=colour,
        highlight=_colour(colour * rng.uniform(1.2, 2.2) + 0.02),
        hairline=hairline,
        lean=rng.normal(0, 5) * (style in ("fringe", "parted")),
        thickness=(top, side),
        length=float(rng.uniform(40, 330)) if long else 0.0,
        front=float(rng.uniform(38, 85)),
        curl=curl,
        ragged=float(rng.uniform(0.5, 3.5) + 3 * (style == "fringe") * rng.random()),
        stubble=float(rng.beta(1, 1)),
        cloth=bool(rng.random() < 0.03),
    )


def _draw_beard(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Density on cheeks, chin and upper lip, and length (0 stubble … 1 full)."""
    kind = rng.integers(5)
    length = rng.beta(1.2, 1.5)
    full = rng.uniform(0.4, 1.0)
    return [
        (rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.6), rng.uniform(0.15, 0.6), 0.0),  # stubble
        (full, full, full * rng.uniform(0.6, 1), length),
        (0.1, full, full, length),  # goatee
        (0.1, 0.15, full, length),  # moustache
        (0.2, full, 0.2, length),  # chin only
    ][kind]


def _draw_glasses(rng: np.random.Generator) -> Glasses:
    dark = rng.random() < 0.6
    sun = rng.random() < 0.12
    return Glasses(
        colour=_colour(rng.uniform(0.0, 0.15, 3) if dark else rng.uniform(0.1, 0.8, 3)),
        rim=float(rng.choice([rng.uniform(0.6, 1.5), rng.uniform(2, 4.5)])),
        lens=(rng.uniform(22, 29), rng.uniform(15, 24)),
        roundness=rng.uniform(2, 5),
        rimless=bool(rng.random() < 0.15),
        tint=_colour(rng.uniform(0.0, 0.3, 3) if sun else rng.uniform(0.5, 1, 3)),
        opacity=rng.uniform(0.6, 0.95) if sun else rng.uniform(0, 0.12),
        reflection=rng.uniform(0, 0.5) * (rng.random() < 0.5),
    )


def _draw_clothes(rng: np.random.Generator, masculine: bool) -> Clothes:
    colour = _colour(rng.uniform(0.02, 0.9) * (1 + rng.normal(0, rng.choice([0.05, 0.4]), 3)))
    if rng.random() < 0.4:
        colour = colour * 0.15
    white = rng.random() < 0.75
    kind = str(rng.choice(["shirt", "suit", "turtleneck", "bare"], p=[0.55, 0.25, 0.12, 0.08]))
    return Clothes(
        kind=kind,
        colour=colour,
        inner=_colour(rng.uniform(0.6, 1.0) + rng.normal(0, 0.06, 3) if white else rng.uniform(0, 1, 3)),
        tie=_colour(rng.uniform(0.02, 0.7, 3)),
        pattern=str(rng.choice(["plain", "stripes", "checks", "noise", "dots"], p=[0.55, 0.15, 0.1, 0.15, 0.05])),
        pattern_colour=_colour(rng.uniform(0, 1, 3)),
        pattern_scale=float(rng.uniform(6, 40)),
        neckline=float(rng.uniform(0, 25) if masculine else rng.uniform(0, 110)),
    )
