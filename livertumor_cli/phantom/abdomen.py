"""An abdominal CT of analytic shapes, with known liver, tumors and vessels.

Body with fat, muscle, spine, ribs and lungs; liver with portal and hepatic veins and ellipsoid
tumors; gallbladder, spleen, kidneys, stomach, bowel, aorta and vena cava; blur and noise of a
portal-venous scan. A seed changes size, place and enhancement of everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import BoolArray, FloatArray, LabelArray
from livertumor_cli.geometry import Geometry, Spacing
from livertumor_cli.phantom.organs import Organs, make_organs
from livertumor_cli.phantom.shapes import Canvas, Ellipsoid
from livertumor_cli.phantom.vessels import grow_vessels
from livertumor_cli.volume import Source, Volume

DEMO_DIAMETERS_MM = (46.0, 32.0, 24.0, 18.0)
TUMOR_GAP_MM = 6.0
"""Least distance between two tumors and between a tumor and the liver's surface."""


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """What to draw.

    Attributes:
        seed: Changes anatomy, places and noise; the same seed gives the same voxels.
        shape: Voxels along z, y, x.
        spacing_mm: Voxel size along z, y, x.
        tumor_diameters_mm: Mean diameters of the tumors; they become ellipsoids of that volume.
        noise_hu: Standard deviation of the noise.
        center_z_mm: Height of the scan's middle over the liver's middle.
    """

    seed: int = 0
    shape: tuple[int, int, int] = (120, 320, 384)
    spacing_mm: Spacing = (2.5, 1.0, 1.0)
    tumor_diameters_mm: tuple[float, ...] = DEMO_DIAMETERS_MM
    noise_hu: float = 12.0
    center_z_mm: float = 10.0


@dataclass(frozen=True, slots=True)
class Tumor:
    """A drawn tumor: where it is and its analytic volume."""

    shape: Ellipsoid

    @property
    def volume_ml(self) -> float:
        """Analytic volume."""
        return self.shape.volume_ml

    @property
    def mean_diameter_mm(self) -> float:
        """Diameter of the sphere of the same volume."""
        a, b, c = self.shape.semi_axes_mm
        return 2.0 * float(np.cbrt(a * b * c))


@dataclass(frozen=True, slots=True)
class Phantom:
    """A drawn scan and its truth.

    Attributes:
        volume: HU, int16.
        labels: `anatomy.Label` values on the same grid, shape (z, y, x).
        tumors: The tumors inside the liver, largest first.
    """

    volume: Volume
    labels: LabelArray
    tumors: tuple[Tumor, ...]


def make_phantom(spec: PhantomSpec | None = None) -> Phantom:
    """Draw an abdominal CT phantom.

    Args:
        spec: What to draw; the demo's phantom by default.

    Returns:
        Scan and truth. Tumors that found no free place in the liver are left out.
    """
    spec = spec or PhantomSpec()
    rng = np.random.default_rng(spec.seed)
    canvas = Canvas(_centered_grid(spec))
    organs = make_organs(rng)
    liver = organs.liver_mask(canvas)
    tumors = _place_tumors(rng, spec=spec, canvas=canvas, liver=liver)
    tumor_mask = canvas.mask_of(*(tumor.shape for tumor in tumors)) & liver
    vessel_mask = canvas.mask_of(*grow_vessels(rng, organs)) & liver & ~tumor_mask
    labels = np.zeros(spec.shape, dtype=np.uint8)
    labels[liver] = Label.LIVER
    labels[vessel_mask] = Label.VESSEL
    labels[tumor_mask] = Label.TUMOR
    hu = _paint(rng, canvas=canvas, organs=organs, labels=labels)
    hu = _blur_and_noise(rng, hu, spec=spec)
    source = Source(Path(f"phantom-{spec.seed}"), "phantom")
    voxels = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return Phantom(Volume(voxels, canvas.geometry, source), labels, tumors)


def _centered_grid(spec: PhantomSpec) -> Geometry:
    """A grid whose middle lies on the body's axis."""
    (nz, ny, nx), (dz, dy, dx) = spec.shape, spec.spacing_mm
    origin = (
        -0.5 * (nx - 1) * dx,
        -0.5 * (ny - 1) * dy,
        spec.center_z_mm - 0.5 * (nz - 1) * dz,
    )
    return Geometry.from_spacing(spec.shape, spacing_mm=spec.spacing_mm, origin_mm=origin)


def _place_tumors(
    rng: np.random.Generator, *, spec: PhantomSpec, canvas: Canvas, liver: BoolArray
) -> tuple[Tumor, ...]:
    """Ellipsoids at random places in the liver that touch neither its surface nor each other."""
    if not liver.any():
        return ()
    depth_mm = ndimage.distance_transform_edt(liver, sampling=spec.spacing_mm)
    placed: list[Tumor] = []
    for diameter_mm in sorted(spec.tumor_diameters_mm, reverse=True):
        stretch = rng.uniform(0.85, 1.15, 3)
        semi = 0.5 * diameter_mm * stretch / np.prod(stretch) ** (1.0 / 3.0)
        reach = float(semi.max()) + TUMOR_GAP_MM
        candidates = np.argwhere(depth_mm > reach)
        if len(candidates) == 0:
            continue
        center = canvas.geometry.index_to_lps(candidates[rng.integers(len(candidates))])
        x, y, z = canvas.axes(canvas.whole())
        from_center = np.sqrt((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2)
        depth_mm = np.minimum(depth_mm, from_center - float(semi.max()))
        shape = Ellipsoid(
            (float(center[0]), float(center[1]), float(center[2])),
            (float(semi[0]), float(semi[1]), float(semi[2])),
        )
        placed.append(Tumor(shape))
    return tuple(placed)


def _paint(
    rng: np.random.Generator, *, canvas: Canvas, organs: Organs, labels: LabelArray
) -> FloatArray:
    """HU without blur and noise, shape (z, y, x)."""
    hu = organs.paint_surroundings(canvas)
    liver_hu = float(rng.uniform(85, 125))
    hu[labels > 0] = liver_hu
    hu[labels == Label.VESSEL] = liver_hu + float(rng.uniform(40, 75))
    hu[labels == Label.TUMOR] = liver_hu - float(rng.uniform(35, 60))
    return hu


def _blur_and_noise(rng: np.random.Generator, hu: FloatArray, *, spec: PhantomSpec) -> FloatArray:
    """The scanner's point spread (0.6 mm) and noise with a correlation length near 1 mm."""
    sigma = [min(0.6 / spacing, 2.0) for spacing in spec.spacing_mm]
    blurred = ndimage.gaussian_filter(hu, sigma, mode="nearest")
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, [0.0, sigma[1], sigma[2]], mode="wrap")
    noisy = blurred + noise * (spec.noise_hu / max(float(noise.std()), 1e-6))
    return np.asarray(noisy, dtype=np.float32)
