"""Portal and hepatic veins of a phantom, grown as branching tubes."""

from __future__ import annotations

import numpy as np

from livertumor_cli.arrays import DoubleArray
from livertumor_cli.phantom.organs import Organs
from livertumor_cli.phantom.shapes import Point, Tube

GENERATIONS = 5


def grow_vessels(rng: np.random.Generator, organs: Organs) -> list[Tube]:
    """Tubes of a portal tree and three hepatic veins; the caller clips them to the liver.

    Args:
        rng: Decides angles and lengths.
        organs: Gives the liver's middle, the hilum and the vena cava.
    """
    middle = np.array(organs.right_lobe.center_mm)
    left = np.array(organs.left_lobe.center_mm)
    hilum = 0.5 * (middle + left) + np.array([0.0, 22.0, -18.0])
    cava = np.array([organs.cava_x_mm, organs.cava_y_mm, middle[2] + 48.0])
    tubes: list[Tube] = []
    for target, radius in ((middle, 6.5), (left, 5.0)):
        _branch(rng, tubes, start=hilum, toward=target - hilum, radius_mm=radius, generation=0)
    for target in (
        middle + np.array([-30.0, 10.0, -20.0]),
        middle + np.array([10.0, -30.0, -5.0]),
        left + np.array([0.0, 0.0, -8.0]),
    ):
        _branch(rng, tubes, start=cava, toward=target - cava, radius_mm=5.5, generation=1)
    return tubes


def _branch(
    rng: np.random.Generator,
    tubes: list[Tube],
    *,
    start: DoubleArray,
    toward: DoubleArray,
    radius_mm: float,
    generation: int,
) -> None:
    """Add one tube and, from its end, two thinner ones (radius falls by Murray's cube law)."""
    if generation >= GENERATIONS or radius_mm < 1.2:
        return
    length = float(rng.uniform(24, 36)) * 0.86**generation
    direction = toward / max(float(np.linalg.norm(toward)), 1e-6)
    end = start + length * direction
    next_radius = radius_mm * 0.5 ** (1.0 / 3.0)
    tubes.append(Tube(_point(start), _point(end), (radius_mm, next_radius)))
    side = np.cross(direction, rng.standard_normal(3))
    side /= max(float(np.linalg.norm(side)), 1e-6)
    for sign in (-1.0, 1.0):
        turned = direction + sign * float(rng.uniform(0.4, 0.9)) * side
        _branch(
            rng,
            tubes,
            start=end,
            toward=turned,
            radius_mm=next_radius,
            generation=generation + 1,
        )


def _point(position: DoubleArray) -> Point:
    return float(position[0]), float(position[1]), float(position[2])
