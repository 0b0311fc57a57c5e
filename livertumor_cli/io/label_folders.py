"""Folders of label maps, one per case, and what is read of a case for scoring.

A case is a file `NAME.nii.gz` or `NAME.nii`, or a folder `NAME` as `livertumor segment` writes it
(`mask.nii.gz`) or as training data lie (`labels.nii.gz`, and `vessels.nii.gz` where vessels are
labeled). The ending `_livertumor`, which `segment` gives its folders, is no part of the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from livertumor_cli.anatomy import Label
from livertumor_cli.errors import GeometryError, InputError, Reason, UnsupportedFormatError
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.volume import LabelMap, text_name

RESULT_SUFFIX = "_livertumor"

_ENDINGS = (".nii.gz", ".nii")
_STEMS = ("mask", "labels")
_VESSELS = "vessels"
_HINT = (
    "Give a folder with one label map per case: NAME.nii.gz, or folders NAME with mask.nii.gz "
    "or labels.nii.gz in them."
)


@dataclass(frozen=True, slots=True)
class LabelFiles:
    """Where the labels of one case lie.

    Attributes:
        name: The case.
        labels: Label map with the values of `anatomy.Label`.
        vessels: Mask of vessels that is to be joined to it, or None.
    """

    name: str
    labels: Path
    vessels: Path | None = None


def label_files_of(path: Path) -> LabelFiles | None:
    """The one case at a path; None where it is something else, such as a folder of cases.

    Args:
        path: Existing file of any kind, or folder; no file is opened.
    """
    name = text_name(path)
    if path.is_file():
        return LabelFiles(name[: len(name) - len(_ending(path))], path)
    for stem in _STEMS:
        labels = _existing(path, stem)
        if labels is not None:
            vessels = _existing(path, _VESSELS) if stem == "labels" else None
            return LabelFiles(name.removesuffix(RESULT_SUFFIX), labels, vessels)
    return None


def find_label_files(folder: Path) -> dict[str, LabelFiles]:
    """Every case in a folder by its name, in alphabetical order; no file is opened.

    Args:
        folder: Existing folder; hidden entries and folders without a label map are passed over.

    Raises:
        InputError: If there is no case, or two of one name.
    """
    found: dict[str, LabelFiles] = {}
    for entry in sorted(folder.iterdir()):
        is_foreign = entry.name.startswith(".") or (entry.is_file() and not _ending(entry))
        files = None if is_foreign else label_files_of(entry)
        if files is None:
            continue
        if files.name in found:
            raise InputError(
                f"{folder} holds the case '{files.name}' twice: {found[files.name].labels} and "
                f"{files.labels}.",
                reason=Reason.UNSUPPORTED_FORMAT,
                hint="Leave one of them.",
            )
        found[files.name] = files
    if not found:
        raise InputError(f"{folder} holds no label map.", reason=Reason.NOT_FOUND, hint=_HINT)
    return found


def read_labels(files: LabelFiles) -> LabelMap:
    """The labels of a case; an empty map is a label map too.

    Vessels of a mask of their own count where the label map says liver: a tumor stays a tumor.

    Args:
        files: From `find_label_files`.

    Raises:
        InputError: If a file cannot be read, has values beyond those of `anatomy.Label`, or the
            two lie on different grids.
    """
    label_map = read_label_map(files.labels)
    labels = np.asarray(label_map.labels, dtype=np.uint8)
    highest = int(labels.max(initial=0))
    if highest > max(Label):
        raise UnsupportedFormatError(
            f"{files.labels} has the value {highest}: it is no map of liver, tumor and vessel.",
            reason=Reason.UNSUPPORTED_FORMAT,
            hint="Values are 0 background, 1 liver, 2 tumor, 3 vessel.",
        )
    if files.vessels is None:
        return LabelMap(labels, label_map.geometry)
    vessels = read_label_map(files.vessels)
    if not vessels.geometry.is_same_grid(label_map.geometry):
        raise GeometryError(
            f"{files.vessels} and {files.labels.name} lie on different grids.",
            reason=Reason.GRIDS_DIFFER,
            hint="Save both on the grid of their scan.",
        )
    labels[(vessels.labels > 0) & (labels == Label.LIVER)] = Label.VESSEL
    return LabelMap(labels, label_map.geometry)


def _ending(path: Path) -> str:
    """The file's ending as it stands in its name; empty for another kind of file."""
    name = path.name
    length = next((len(end) for end in _ENDINGS if name.lower().endswith(end)), 0)
    return name[len(name) - length :]


def _existing(folder: Path, stem: str) -> Path | None:
    files = (folder / f"{stem}{ending}" for ending in _ENDINGS)
    return next((file for file in files if file.is_file()), None)
