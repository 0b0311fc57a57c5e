"""The Couinaud segment of every liver voxel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from livertumor_cli.arrays import BoolArray, FloatArray, HuArray, LabelArray
from livertumor_cli.engine.engine import Engine
from livertumor_cli.geometry import Box, Geometry, bounding_box, box_holding, box_of
from livertumor_cli.inference.interpolation import interpolate
from livertumor_cli.inference.liver_box import KnownLiver, grid_about, near, reach_mm
from livertumor_cli.inference.native import slabs
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.resample import to_patient_axes
from livertumor_cli.inference.scales import predict_scales
from livertumor_cli.inference.stage_image import Region, made_ahead
from livertumor_cli.inference.windows import StepProgress
from livertumor_cli.recipes.recipe import Stage
from livertumor_cli.volume import Volume


def find_segments(
    volume: Volume,
    labels: LabelArray,
    *,
    liver: KnownLiver,
    network: tuple[Stage, Engine],
    on_step: StepProgress,
) -> LabelArray:
    """The segment of every voxel of a labeled liver.

    Args:
        volume: The scan in HU.
        labels: `anatomy.Label` values on its grid; all that is not background is liver.
        liver: The same liver on a grid that is no finer than it must be.
        network: The segment stage, and its network.
        on_step: Told after each window.

    Returns:
        uint8, shape of the scan; see `segments_on_scan`.

    Raises:
        BackendError: If the machine's memory will not do.
    """
    stage, engine = network
    scan = to_patient_axes(volume.hu, volume.geometry)
    prediction = predict_segments(scan, liver, stage=stage, engine=engine, on_step=on_step)
    return segments_on_scan(prediction, labels, scan=volume.geometry)


def predict_segments(
    scan: tuple[HuArray, Geometry],
    liver: KnownLiver,
    *,
    stage: Stage,
    engine: Engine,
    on_step: StepProgress,
) -> Prediction:
    """Probabilities of the segments about the liver; inside it every voxel has some.

    Args:
        scan: HU and grid along the patient's axes.
        liver: As the stages before have drawn it.
        stage: The segment stage.
        engine: Its network.
        on_step: Told after each window.

    Raises:
        BackendError: If the machine's memory will not do.
    """
    hu, geometry = scan
    # One voxel beyond the liver, so that its outline is interpolated and not cut.
    margin_mm = max(stage.spacing_mm or geometry.spacing_mm)
    looked_at = near(liver, reach_mm(stage, margin_mm))
    prediction = predict_scales(
        hu,
        geometry,
        stage=stage,
        engine=engine,
        scales=stage.scales,
        region=Region(
            grid_about(geometry, liver, stage=stage, margin_mm=margin_mm), needed=looked_at
        ),
        on_step=on_step,
    )
    _spread(prediction.probabilities, looked_at(prediction.geometry))
    return prediction


def _spread(probabilities: FloatArray, seen: BoolArray) -> None:
    """Give all voxels the probabilities of the nearest that the network has seen, in place.

    The liver's outline on the scan runs through voxels that lie outside on the coarse grid.

    Args:
        probabilities: Shape (1 + segments, z, y, x).
        seen: Shape (z, y, x).
    """
    if seen.any():
        nearest = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
        probabilities[1:] = probabilities[1:, *nearest]


def segments_on_scan(prediction: Prediction, labels: LabelArray, *, scan: Geometry) -> LabelArray:
    """The likeliest segment of every voxel of the liver.

    Args:
        prediction: From `predict_segments`.
        labels: `anatomy.Label` values, shape of the scan; all that is not background is liver.
        scan: The scan's own grid.

    Returns:
        uint8, shape of the scan: 1 to 8 in the liver; 0 outside, and where no network has looked.
    """
    segments = np.zeros(scan.shape, dtype=np.uint8)
    box = bounding_box(labels)
    if box is None:
        return segments
    inner = segments[box]
    oriented, geometry = to_patient_axes(inner, scan.cropped(box))
    best = np.zeros(geometry.shape, dtype=np.float32)
    for channel, slab, part in made_ahead(_parts(prediction, geometry)):
        np.copyto(oriented[slab], channel, where=part > best[slab])
        np.maximum(best[slab], part, out=best[slab])
    inner *= labels[box] > 0
    return segments


def _parts(prediction: Prediction, geometry: Geometry) -> Iterator[tuple[int, Box, FloatArray]]:
    """Each segment's channel and its probabilities in the boxes of a grid that it may reach."""
    for channel, reach in _reaches(prediction):
        part = prediction.probabilities[channel]
        for slab in slabs(box_holding(geometry, reach.corners_lps())):
            target = geometry.cropped(slab)
            yield channel, slab, interpolate(part, prediction.geometry, target=target, outside=0.0)


def _reaches(prediction: Prediction) -> Iterator[tuple[int, Geometry]]:
    """Each segment's channel, and the grid outside of which it is nowhere the likeliest.

    Where a segment wins between eight voxels, its share of all segments is at least that of an
    average one, so it is in one of the eight too. Most of a liver is out of a segment's reach.
    """
    segments = prediction.probabilities[1:]
    average = segments.mean(axis=0)
    for channel, part in enumerate(segments, start=1):
        # A hair less: sums of eight float32 numbers are not exact.
        possible = (part >= 0.999 * average) & (part > 0)
        if possible.any():
            yield channel, prediction.geometry.cropped(box_of(possible)).grown((1, 1, 1))
