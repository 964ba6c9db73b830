"""Alterations of nadir imagery: any rotation, scale, colour and season, drawn from an explicit generator.

All functions take and return uint8 [H, W, 3] RGB and are deterministic given the generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

cv2.setNumThreads(1)

Picture = npt.NDArray[np.uint8]
T = TypeVar("T", bound=np.generic)

_NOISE = np.random.default_rng(7).normal(0, 1, 1 << 18).astype(np.float32)
_RAMP = np.linspace(0, 1, 256, dtype=np.float32)
_GREY = np.full((3, 3), 1 / 3, dtype=np.float32)


@dataclass(frozen=True)
class Strength:
    """How far views may differ.

    Attributes:
        area: smallest and largest share of the area that a crop keeps.
        stretch: largest logarithm of the aspect ratio.
        colour: factor on all colour changes; 0 turns them off.
        rotate: any angle when true, else none.
        damage: probability factor of blur, noise and erased blocks.
        turns: quarter turns and mirror images, which resample nothing.
    """

    area: tuple[float, float] = (0.30, 1.0)
    stretch: float = 0.18
    colour: float = 1.0
    rotate: bool = True
    damage: float = 1.0
    turns: bool = False


TRAINING = Strength()
QUERY = Strength(area=(0.70, 1.0), stretch=0.0, damage=0.3)
"""What a user's query looks like against an archive: turned, cropped a little, other colours."""
MILD = Strength(area=(0.60, 1.0), stretch=0.06, colour=0.30, rotate=False, damage=0.15, turns=True)
"""For tuning a large model that already knows colours and textures: sharp, upright grids, slight changes."""


def quarter_turn(picture: Picture, rng: np.random.Generator) -> Picture:
    """One of the eight turns and mirror images of a square grid; pixels move, none changes.

    Seen from straight above, no direction is up: all eight are equally likely on any picture of the ground.

    Args:
        picture: uint8 [H, W, 3].
        rng: source of the choice.

    Returns:
        uint8 [H, W, 3] or [W, H, 3].
    """
    number = int(rng.integers(8))
    turned = np.rot90(picture, number % 4)
    return np.ascontiguousarray(turned[:, ::-1] if number >= 4 else turned)


def turned(picture: npt.NDArray[T], number: int) -> npt.NDArray[T]:
    """One of the eight turns of a grid: from 4 on mirrored first, then turned left by quarter circles.

    Args:
        picture: of any number type [H, W, ...].
        number: 0 to 7.
    """
    return np.ascontiguousarray(np.rot90(picture[:, ::-1] if number >= 4 else picture, number % 4))


def warp(picture: Picture, size: int, strength: Strength, rng: np.random.Generator) -> Picture:
    """Random crop, rotation, flip and stretch in one resampling step; borders reflect.

    Args:
        picture: uint8 [H, W, 3].
        size: side of the result in px.
        strength: limits.
        rng: source of all choices.

    Returns:
        uint8 [size, size, 3].
    """
    height, width = picture.shape[:2]
    side = math.sqrt(rng.uniform(*strength.area)) * min(height, width)
    ratio = math.exp(rng.uniform(-strength.stretch, strength.stretch) / 2)
    angle = rng.uniform(0, 2 * math.pi) if strength.rotate else 0.0
    flip = -1.0 if rng.random() < 0.5 else 1.0
    # room for the centre of the crop: the corners of a turned crop may leave the picture by a little (reflected)
    room_x, room_y = max(0.0, (width - side) / 2), max(0.0, (height - side) / 2)
    centre_x = width / 2 + rng.uniform(-room_x, room_x) - 0.5
    centre_y = height / 2 + rng.uniform(-room_y, room_y) - 0.5
    step = side / size
    if step > 1.5:
        sigma = 0.4 * step
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    cos, sin = math.cos(angle) * step, math.sin(angle) * step
    linear = np.array([[cos * ratio * flip, -sin / ratio], [sin * ratio * flip, cos / ratio]])
    middle = (size - 1) / 2
    offset = np.array([centre_x, centre_y]) - linear @ np.array([middle, middle])
    matrix = np.column_stack([linear, offset])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out: Picture = cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return out


def _curves(strength: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Tone curves uint8 [1, 256, 3]: gamma, contrast, brightness, gains and a gentle wave per channel (seasons)."""
    gamma = math.exp(rng.normal(0, 0.25 * strength))
    contrast = math.exp(rng.normal(0, 0.22 * strength))
    shift = rng.normal(0, 0.10 * strength)
    gains = np.exp(rng.normal(0, 0.10 * strength, 3))
    shifts = rng.normal(0, 0.03 * strength, 3)
    base = (np.power(_RAMP, gamma) - 0.45) * contrast + 0.45 + shift
    table = base[:, None] * gains[None, :] + shifts[None, :]
    if rng.random() < 0.4 * strength:
        height = rng.normal(0, 0.06 * strength, 3)
        waves, phase = rng.uniform(0.5, 1.5, 3), rng.uniform(0, 1, 3)
        table = table + height * np.sin(2 * math.pi * (_RAMP[:, None] * waves + phase))
    return (np.clip(table, 0, 1) * 255 + 0.5).astype(np.uint8)[None]


def _mixing(strength: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Colour mixing matrix float32 [3, 3]: saturation, small hue-like mixing, sometimes grey or swapped channels."""
    if rng.random() < 0.15 * strength:
        weights = rng.dirichlet((3, 3, 3)).astype(np.float32)
        return np.asarray(np.tile(weights, (3, 1)), dtype=np.float32)
    saturation = math.exp(rng.normal(0, 0.35 * strength))
    matrix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * _GREY
    noise = rng.normal(0, 0.10 * strength, (3, 3)).astype(np.float32)
    matrix = np.asarray(matrix + noise - noise.mean(axis=1, keepdims=True), dtype=np.float32)
    if rng.random() < 0.10 * strength:
        matrix = matrix[rng.permutation(3)]
    return matrix


def recolour(picture: Picture, strength: Strength, rng: np.random.Generator) -> Picture:
    """Random tone curves and colour mixing, and now and then uneven light.

    Args:
        picture: uint8 [H, W, 3].
        strength: limits.
        rng: source of all choices.

    Returns:
        uint8 [H, W, 3].
    """
    if strength.colour <= 0:
        return picture
    out = cv2.LUT(picture, _curves(strength.colour, rng))
    out = cv2.transform(out, _mixing(strength.colour, rng))
    if rng.random() < 0.25 * strength.colour:
        coarse = np.exp(rng.normal(0, 0.22 * strength.colour, (5, 5))).astype(np.float32)
        light = cv2.resize(coarse, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_CUBIC)
        out = np.clip(out * light[..., None], 0, 255).astype(np.uint8)
    result: Picture = out
    return result


def repaint(picture: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Other crops and other water: colours near each of five random pixels of the picture move together.

    Args:
        picture: uint8 [H, W, 3].
        strength: factor on the shifts, whose standard deviation is 38 grey values at 1.
        rng: source of all choices.

    Returns:
        uint8 [H, W, 3].
    """
    pixels = picture.reshape(-1, 3).astype(np.float32)
    anchors = pixels[rng.integers(0, len(pixels), 5)]
    shifts = rng.normal(0, 22 * strength, (5, 3)) + rng.normal(0, 30 * strength, (5, 1))
    distance = (anchors**2).sum(axis=1) - 2 * pixels @ anchors.T
    distance -= distance.min(axis=1, keepdims=True)
    weight = np.exp(distance / np.float32(-2 * rng.uniform(12, 30) ** 2))
    weight /= weight.sum(axis=1, keepdims=True)
    out: Picture = np.clip(pixels + weight @ shifts.astype(np.float32), 0, 255).astype(np.uint8).reshape(picture.shape)
    return out


def damage(picture: Picture, strength: Strength, rng: np.random.Generator) -> Picture:
    """Blur or loss of resolution, sensor noise, and a block that is missing.

    Args:
        picture: uint8 [H, W, 3].
        strength: limits.
        rng: source of all choices.

    Returns:
        uint8 [H, W, 3].
    """
    size = picture.shape[0]
    out = picture
    draw = rng.random()
    if draw < 0.15 * strength.damage:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.6) * size / 96)
    elif draw < 0.30 * strength.damage:
        small = max(8, int(size * rng.uniform(0.35, 0.8)))
        out = cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA)
        out = cv2.resize(out, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25 * strength.damage:
        grain = _NOISE if out.size < _NOISE.size else np.resize(_NOISE, 2 * out.size)  # large views: over and over
        start = int(rng.integers(0, grain.size - out.size))
        noise = grain[start : start + out.size].reshape(out.shape) * rng.uniform(2, 9)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.10 * strength.damage:
        tall, wide = (int(size * rng.uniform(0.15, 0.45)) for _ in range(2))
        top, left = int(rng.integers(0, size - tall + 1)), int(rng.integers(0, size - wide + 1))
        out = out.copy()
        out[top : top + tall, left : left + wide] = rng.integers(0, 256, 3, dtype=np.uint8)
    result: Picture = out
    return result


def view(picture: Picture, size: int, strength: Strength, rng: np.random.Generator) -> Picture:
    """One altered view: :func:`quarter_turn` when asked for, :func:`warp`, :func:`recolour`, then :func:`damage`.

    Args:
        picture: uint8 [H, W, 3] RGB.
        size: side of the result in px.
        strength: limits.
        rng: source of all choices.

    Returns:
        uint8 [size, size, 3].
    """
    turned = quarter_turn(picture, rng) if strength.turns else picture
    return damage(recolour(warp(turned, size, strength, rng), strength, rng), strength, rng)


def training_view(picture: Picture, size: int, rng: np.random.Generator) -> Picture:
    """A view for training: mostly mild changes of colour, now and then the full :data:`TRAINING` strength.

    Classes are partly told by colour, places must be found without it: hence a strength drawn for every view.

    Args:
        picture: uint8 [H, W, 3] RGB.
        size: side of the result in px.
        rng: source of all choices.

    Returns:
        uint8 [size, size, 3].
    """
    share = float(rng.random()) ** 1.3
    strength = replace(TRAINING, colour=TRAINING.colour * share, damage=TRAINING.damage * min(1.0, 0.3 + share))
    return view(picture, size, strength, rng)


def mild_view(picture: Picture, size: int, rng: np.random.Generator) -> Picture:
    """A view for tuning large models: :data:`MILD`, a crop with quarter turns and slight changes of colour.

    Args:
        picture: uint8 [H, W, 3] RGB.
        size: side of the result in px.
        rng: source of all choices.

    Returns:
        uint8 [size, size, 3].
    """
    return view(picture, size, MILD, rng)


def mixed_view(picture: Picture, size: int, rng: np.random.Generator) -> Picture:
    """:func:`mild_view` or :func:`training_view`, one as likely as the other.

    Args:
        picture: uint8 [H, W, 3] RGB.
        size: side of the result in px.
        rng: source of all choices.

    Returns:
        uint8 [size, size, 3].
    """
    return (mild_view if rng.random() < 0.5 else training_view)(picture, size, rng)


def wild_view(picture: Picture, size: int, rng: np.random.Generator) -> Picture:
    """A view that only the shape of things relates to the picture: repainted, then altered at full strength.

    Args:
        picture: uint8 [H, W, 3] RGB.
        size: side of the result in px.
        rng: source of all choices.

    Returns:
        uint8 [size, size, 3].
    """
    turned = repaint(warp(picture, size, TRAINING, rng), float(rng.uniform(0.4, 1.2)), rng)
    return damage(recolour(turned, TRAINING, rng), TRAINING, rng)


def plain(picture: Picture, size: int) -> Picture:
    """The picture resized for inference, nothing altered: area averaging when shrinking, else bilinear.

    Args:
        picture: uint8 [H, W, 3].
        size: side of the result in px.

    Returns:
        uint8 [size, size, 3].
    """
    shrink = min(picture.shape[:2]) > size
    out: Picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    return out
