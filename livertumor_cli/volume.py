"""What passes between the layers: an image in HU, a label map, and where each came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from livertumor_cli.arrays import HuArray, InstanceArray, LabelArray
from livertumor_cli.geometry import Geometry

AIR_HU = -1024
"""Lowest value kept: padding below it (-2000, -3024) is no tissue and would distort statistics."""


def text_name(path: Path) -> str:
    """The name of a file as text: bytes that are none, which only Linux allows, stand as codes."""
    return path.name.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a volume was read from.

    Attributes:
        path: File or folder as the user gave it.
        kind: "nifti", "mha", "nrrd", "dicom", "zip" or "phantom".
        series_uid: DICOM SeriesInstanceUID, empty for other formats.
        sop_instance_uids: One per z index for DICOM, else empty; of a resampled grid the nearest.
        keeps_identity: Whether results may tell the name of a DICOM folder or zip.
        notes: Sentences on what the reader had to decide (resampled, lossy, another phase).
        files: The only files to look into, where the path holds other studies too.
        members: The same for a zip: names of its members.
    """

    path: Path
    kind: str
    series_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    keeps_identity: bool = False

    @property
    def shown_name(self) -> str:
        """Name of the scan in results, without folders; empty where it may name the patient.

        Archives export DICOM into folders and zips named after the patient. The name of a volume
        file is what its owner has to find it by.
        """
        if self.kind in ("dicom", "zip") and not self.keeps_identity:
            return ""
        return text_name(self.path)

    files: tuple[Path, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """A CT in Hounsfield units.

    Attributes:
        hu: Shape (z, y, x), int16 or float32.
        geometry: The grid, of the same shape.
        source: Where it came from.

    Raises:
        ValueError: If array and grid differ in shape.
    """

    hu: HuArray
    geometry: Geometry
    source: Source = field(default_factory=lambda: Source(Path(), "memory"))

    def __post_init__(self) -> None:
        if self.hu.shape != self.geometry.shape:
            raise ValueError(f"array {self.hu.shape} does not fit grid {self.geometry.shape}")


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Label values on a grid: `anatomy.Label` (uint8) or lesion numbers (uint8 or uint16).

    Attributes:
        labels: Shape (z, y, x).
        geometry: The grid, of the same shape.

    Raises:
        ValueError: If array and grid differ in shape.
    """

    labels: LabelArray | InstanceArray
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.labels.shape != self.geometry.shape:
            raise ValueError(f"array {self.labels.shape} does not fit grid {self.geometry.shape}")
