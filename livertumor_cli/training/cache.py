"""Labeled scans brought once to a task's grid and kept as arrays on disk."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from livertumor_cli.anatomy import CLASS_NAMES, SEGMENT_CLASSES, Label
from livertumor_cli.arrays import BoolArray, FloatArray, HuArray, LabelArray
from livertumor_cli.errors import GeometryError, InputError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.resample import patient_grid, resample_to
from livertumor_cli.io.atomic import make_folder, written_atomically
from livertumor_cli.io.nifti import RAS_TO_LPS
from livertumor_cli.io.place import require_folder
from livertumor_cli.phantom import PhantomSpec, make_phantom
from livertumor_cli.training.tasks import Task

_INDEX = "cases.json"
_DATA_HINT = f"Give the folder that holds {_INDEX} and one folder per case."

OUTSIDE_HU = -160.0
"""What lies outside the body in the shared CTs, and below every input window."""

SEGMENT_FILE = "couinaud.nii.gz"

NO_SEGMENT = 255
"""Label of liver whose segment the reference does not tell."""

VESSEL_SHARE = 0.4
"""Share of a voxel that makes it vessel: at a half, vessels thinner than a voxel would vanish."""

PHANTOM_SEEDS = tuple(range(100, 108))
"""Training phantoms; the demo and the tests use other seeds."""


Progress = Callable[[str, int, int], None]
"""Told (step, done, total)."""


@dataclass(frozen=True, slots=True)
class TrainingCase:
    """One scan on a task's grid.

    Attributes:
        name: Case name.
        hu: int16, shape (z, y, x).
        labels: `anatomy.Label` values, same shape; of a task of segments 0 to 8, and
            NO_SEGMENT in liver whose segment the reference does not tell.
        has_vessels: Whether vessels are labeled; if not, label LIVER means liver or vessel.
        is_phantom: Whether it is a drawing.
    """

    name: str
    hu: np.ndarray[tuple[int, ...], np.dtype[np.int16]]
    labels: LabelArray
    has_vessels: bool
    is_phantom: bool


def load_cases(
    data: Path, *, task: Task, split: str, cache: Path, progress: Progress = lambda *_: None
) -> list[TrainingCase]:
    """The cases of one split (`cases.json` of the data folder) on a task's grid.

    Args:
        data: Folder with `cases.json` and one folder per case.
        task: Decides grid and files.
        split: "train" or "validation"; "phantom" for drawn scans.
        cache: Folder for the resampled arrays.
        progress: Told ("prepare SPLIT", done, total) before each case.

    Raises:
        InputError: If the data folder has no `cases.json` of the expected form, no training case,
            or a file that cannot be read.
    """
    if split == "phantom":
        if task.is_of_segments:
            return []  # a drawn liver has none
        makers = {f"phantom-{seed}": partial(_draw, task, seed) for seed in PHANTOM_SEEDS}
    else:
        names = _usable_names(data, task=task, split=split)
        makers = {name: partial(_prepare, data / name, task) for name in names}
    cases = []
    for done, (name, make) in enumerate(makers.items()):
        progress(f"prepare {split}", done, len(makers))
        cases.append(_cached(cache, task, name=name, make=make))
    return cases


def _usable_names(data: Path, *, task: Task, split: str) -> list[str]:
    """Names of a split's cases that have the files that a task learns from."""
    ct_name = "wide_ct.nii.gz" if task.wide else "ct.nii.gz"
    needed = (ct_name, SEGMENT_FILE) if task.is_of_segments else (ct_name,)
    names = [
        name
        for name in _names(data, split)
        if all((data / name / file).is_file() for file in needed)
    ]
    if split == "train" and not names:
        raise InputError(
            f"{data} has no training case with a {' and a '.join(needed)}.",
            reason=Reason.NOT_FOUND,
            hint='cases.json marks a training case with "split": "train".',
        )
    return names


def require_data(data: Path) -> None:
    """Refuse a folder that holds no training data, before anything is made for it.

    Args:
        data: Folder with `cases.json` and one folder per case.

    Raises:
        InputError: If there is no such folder, or no `cases.json` in it.
    """
    require_folder(data, hint=_DATA_HINT)
    if not (data / _INDEX).is_file():
        raise InputError(f"{data} has no {_INDEX}.", reason=Reason.NOT_FOUND, hint=_DATA_HINT)


def _names(data: Path, split: str) -> list[str]:
    """Names of a split's cases, in the order of `cases.json`."""
    require_data(data)
    index = data / _INDEX
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))
        return [str(entry["case"]) for entry in entries if entry["split"] == split]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{index} is no list of entries with "case" and "split".', reason=Reason.UNREADABLE
        ) from error


def _cached(
    cache: Path, task: Task, *, name: str, make: Callable[[], TrainingCase]
) -> TrainingCase:
    """Read a case from the cache or make and store it."""
    grid = "x".join(f"{step:g}" for step in task.spacing_mm)
    path = cache / f"{name}-{_kind(task)}-{grid}.npz"
    if not path.is_file():
        case = make()
        make_folder(path.parent)
        flags = [case.has_vessels, case.is_phantom]
        with written_atomically(path) as stream:
            np.savez(stream, hu=case.hu, labels=case.labels, flags=flags)
    try:
        # np.load leaves a damaged file open that it opened itself.
        with path.open("rb") as stream, np.load(stream) as stored:
            has_vessels, is_phantom = (bool(flag) for flag in stored["flags"])
            labels = stored["labels"]
            if not task.is_of_segments:
                labels = _in_classes(labels, task.classes)
            return TrainingCase(name, stored["hu"], labels, has_vessels, is_phantom)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is damaged.",
            reason=Reason.UNREADABLE,
            hint="Delete it: the case is prepared anew.",
        ) from error


def _kind(task: Task) -> str:
    """Which files and labels a task learns from."""
    if task.is_of_segments:
        return "segments"
    return "wide" if task.wide else "liver"


def _in_classes(labels: LabelArray, classes: tuple[str, ...]) -> LabelArray:
    """Labels in which all that a task does not tell apart is liver; tasks share one cache."""
    unknown = [value for value in np.unique(labels) if CLASS_NAMES[value] not in classes]
    return np.where(np.isin(labels, unknown), np.uint8(Label.LIVER), labels) if unknown else labels


def _prepare(folder: Path, task: Task) -> TrainingCase:
    """Resample one patient's scan and labels."""
    prefix = "wide_" if task.wide else ""
    hu, geometry = _read(folder / f"{prefix}ct.nii.gz")
    labels = _read_labels(folder / f"{prefix}labels.nii.gz", geometry)
    if task.is_of_segments:
        segments = _read_labels(folder / SEGMENT_FILE, geometry)
        segments[labels == 0] = 0
        segments[(labels > 0) & (segments == 0)] = NO_SEGMENT
        return _segments_on_grid(folder.name, hu, segments, geometry=geometry, task=task)
    vessel_file = folder / "vessels.nii.gz"
    has_vessels = not task.wide and vessel_file.is_file()
    if has_vessels:
        vessels = _read_labels(vessel_file, geometry)
        labels[(vessels > 0) & (labels == Label.LIVER)] = Label.VESSEL
    return _on_grid(folder.name, hu, labels, geometry=geometry, task=task, vessels=has_vessels)


def _draw(task: Task, seed: int) -> TrainingCase:
    """A phantom on the task's grid."""
    rng = np.random.default_rng(seed)
    diameters = tuple(float(value) for value in rng.uniform(10, 55, rng.integers(2, 8)))
    shape = (150, 160, 192) if task.wide else (88, 160, 192)
    phantom = make_phantom(
        PhantomSpec(
            seed=seed,
            shape=shape,
            spacing_mm=(2.5, 2.0, 2.0) if task.wide else (2.0, 2.0, 2.0),
            tumor_diameters_mm=diameters,
            noise_hu=float(rng.uniform(5, 25)),
            center_z_mm=0.0,
        )
    )
    volume = phantom.volume
    return _on_grid(
        f"phantom-{seed}",
        volume.hu,
        phantom.labels,
        geometry=volume.geometry,
        task=task,
        vessels=True,
    )


def _on_grid(
    name: str,
    hu: HuArray,
    labels: LabelArray,
    *,
    geometry: Geometry,
    task: Task,
    vessels: bool,
) -> TrainingCase:
    """Image by linear interpolation, labels by the largest interpolated share."""
    target = patient_grid(geometry, task.spacing_mm)
    image = resample_to(hu, geometry, target=target, outside_hu=OUTSIDE_HU)

    def share(member: BoolArray) -> FloatArray:
        return resample_to(member.astype(np.float32), geometry, target=target, outside_hu=0.0)

    liver = share(labels > 0) >= 0.5
    resampled = liver.astype(np.uint8) * np.uint8(Label.LIVER)
    resampled[liver & (share(labels == Label.VESSEL) >= VESSEL_SHARE)] = Label.VESSEL
    resampled[liver & (share(labels == Label.TUMOR) >= 0.5)] = Label.TUMOR
    clipped = np.rint(np.clip(image, -1024, 1024)).astype(np.int16)
    return TrainingCase(name, clipped, resampled, vessels, name.startswith("phantom"))


def _segments_on_grid(
    name: str, hu: HuArray, segments: LabelArray, *, geometry: Geometry, task: Task
) -> TrainingCase:
    """As `_on_grid`; each voxel of the liver has the segment with the largest share of it."""
    target = patient_grid(geometry, task.spacing_mm)
    image = resample_to(hu, geometry, target=target, outside_hu=OUTSIDE_HU)
    resampled = np.zeros(target.shape, dtype=np.uint8)
    largest, liver = np.zeros((2, *target.shape), dtype=np.float32)
    for value in (*range(1, 1 + len(SEGMENT_CLASSES)), NO_SEGMENT):
        member = (segments == value).astype(np.float32)
        share = resample_to(member, geometry, target=target, outside_hu=0.0)
        liver += share
        resampled[share > largest] = value
        np.maximum(largest, share, out=largest)
    resampled[liver < 0.5] = 0
    clipped = np.rint(np.clip(image, -1024, 1024)).astype(np.int16)
    return TrainingCase(name, clipped, resampled, has_vessels=False, is_phantom=False)


def _read(path: Path) -> tuple[HuArray, Geometry]:
    """A NIfTI of the data folder as array (z, y, x) and grid."""
    try:
        image = nib.load(path)
        array = np.asarray(image.dataobj).T
        depth, height, width = array.shape
        geometry = Geometry((depth, height, width), RAS_TO_LPS @ image.affine)
    except (ImageFileError, zlib.error, OSError, EOFError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a 3D NIfTI file.", reason=Reason.UNREADABLE
        ) from error
    hu = np.asarray(array, dtype=np.float32) if array.dtype.kind == "f" else array
    return hu, geometry


def _read_labels(path: Path, grid: Geometry) -> LabelArray:
    """Labels as an array of their own, after a check that they lie on the scan's grid."""
    labels, geometry = _read(path)
    if not geometry.is_same_grid(grid):
        raise GeometryError(
            f"{path} does not lie on the grid of its scan.", reason=Reason.GRIDS_DIFFER
        )
    return np.array(labels, dtype=np.uint8)
