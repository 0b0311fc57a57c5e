"""Every error a user can meet, its exit code and the reasons a scan is refused.

LiverTumorError                 1   base; the only class cli/app.py catches
├ ConfigError                   2   option refused (as click's usage errors)
├ InputError                    3
│ ├ UnsupportedFormatError          not an image, unknown format, colour, 4-D, not CT
│ ├ SeriesSelectionError            several series fit, or none
│ ├ GeometryError                   missing or duplicate slice, tilt, shear, grids differ
│ ├ PixelError                      pixels absent, cut short, undecodable, not in HU
│ ├ EmptyMaskError                  a mask without a voxel where one is needed
│ └ NoLiverError                    no liver was found in the scan
├ ModelError                    4
│ ├ ModelNotFoundError
│ ├ RecipeError                     recipe.toml is no TOML, or has a wrong key or value
│ ├ ModelIntegrityError             SHA-256 differs
│ └ ModelContractError              metadata, input or output shape differ from the recipe
├ BackendError                  5   device or engine not available, out of memory
│ ├ DeviceMemoryError               the memory of the device ran out
│ └ ClusterError                    no Dask scheduler answers, or no worker can take cases
├ OutputError                   6   exists, not writable, disk full, read-back differs
├ BatchError                    7   the batch finished, at least one case failed
└ NetworkError                  8   another DICOM node cannot be reached or refuses, port in use
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why an input was refused: one stable word that programs can branch on."""

    # geometry
    GANTRY_TILT = "gantry_tilt"
    MISSING_SLICES = "missing_slices"
    DUPLICATE_SLICES = "duplicate_slices"
    MIXED_ORIENTATION = "mixed_orientation"
    MIXED_SIZES = "mixed_sizes"
    MIXED_SPACING = "mixed_spacing"
    TOO_FEW_SLICES = "too_few_slices"
    NOT_AXIAL = "not_axial"
    NO_SPACING = "no_spacing"
    NO_POSITIONS = "no_positions"
    NO_ORIENTATION = "no_orientation"
    ORIENTATION_CONFLICT = "orientation_conflict"
    SHEARED = "sheared"
    GRIDS_DIFFER = "grids_differ"
    # kind of image
    LOCALIZER = "localizer"
    SECONDARY_CAPTURE = "secondary_capture"
    COLOUR = "colour"
    NOT_CT = "not_ct"
    NOT_HU = "not_hu"
    FOUR_DIMENSIONAL = "four_dimensional"
    # pixels
    NO_PIXELS = "no_pixels"
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"
    UNSUPPORTED_SYNTAX = "unsupported_syntax"
    NON_FINITE = "non_finite"
    EMPTY_VOLUME = "empty_volume"
    # choice and file
    SEVERAL_SERIES = "several_series"
    SEVERAL_PATIENTS = "several_patients"
    NOT_AN_IMAGE = "not_an_image"
    NOT_FOUND = "not_found"
    UNSAFE_ARCHIVE = "unsafe_archive"
    TOO_LARGE = "too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    # content
    NO_LIVER = "no_liver"
    EMPTY_MASK = "empty_mask"


class LiverTumorError(Exception):
    """What is wrong and where (`message`), and what the user can do (`hint`)."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(LiverTumorError):
    """An option is refused."""

    exit_code = 2


class InputError(LiverTumorError):
    """The scan cannot be used; `reason` is the stable name of the fault."""

    exit_code = 3

    def __init__(self, message: str, *, reason: Reason, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class UnsupportedFormatError(InputError):
    """Not an image, an unknown format, colour, 4-D, or not a CT."""


class SeriesSelectionError(InputError):
    """Several series fit, or none does."""


class GeometryError(InputError):
    """The voxels have no single regular grid in the patient, or two grids differ."""


class PixelError(InputError):
    """Pixel data are absent, cut short, cannot be decoded, or are not in HU."""


class EmptyMaskError(InputError):
    """A mask has no voxel where one is needed."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, reason=Reason.EMPTY_MASK, hint=hint)


class NoLiverError(InputError):
    """No liver was found in the scan."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, reason=Reason.NO_LIVER, hint=hint)


class ModelError(LiverTumorError):
    """A recipe or its weights cannot be used."""

    exit_code = 4


class ModelNotFoundError(ModelError):
    """No recipe of that name, or a file of it is missing."""


class RecipeError(ModelError):
    """A `recipe.toml` is no TOML, or a key or value in it is refused."""


class ModelIntegrityError(ModelError):
    """A weight file is not the one its recipe names (SHA-256 differs)."""


class ModelContractError(ModelError):
    """A model's inputs, outputs or metadata do not fit its recipe."""


class BackendError(LiverTumorError):
    """A device or engine is not available, or it ran out of memory."""

    exit_code = 5


class DeviceMemoryError(BackendError):
    """The device's memory ran out."""


class ClusterError(BackendError):
    """A Dask scheduler does not answer, or none of its workers can take cases."""


class OutputError(LiverTumorError):
    """Results exist already, cannot be written, or do not read back as written."""

    exit_code = 6


class BatchError(LiverTumorError):
    """The batch finished, and at least one case failed."""

    exit_code = 7


class NetworkError(LiverTumorError):
    """Another DICOM node cannot be reached or refuses, or the port to listen on cannot be had."""

    exit_code = 8
