"""Stored pixel values of single frames, in every transfer syntax that permissive codecs decode.

pydicom decodes native, deflated, RLE and (with pyjpegls) JPEG-LS data and notices missing bytes.
JPEG and JPEG 2000 go through the GDCM inside SimpleITK: no GPL codec is needed.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

from livertumor_cli.errors import PixelError, Reason
from livertumor_cli.io.dicom_header import MALFORMED, Plane

_GDCM_SYNTAXES = {
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended, 12 bit
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS, should pyjpegls be absent
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",
}

_PIXEL_ATTRIBUTES = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


class PixelReader:
    """Reads planes one after another; a multi-frame file is opened once."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._dataset = Dataset()

    def read(self, plane: Plane) -> tuple[NDArray[Any], int | None]:
        """Stored values of one plane and the padding value its file states.

        Args:
            plane: What to read.

        Returns:
            Integers, shape (rows, columns), as stored, and PixelPaddingValue or None.

        Raises:
            PixelError: no_pixels, truncated, unreadable or unsupported_syntax.
        """
        try:
            if self._path != plane.path:
                self._dataset, self._path = dcmread(plane.path), plane.path
            if "PixelData" not in self._dataset:
                raise PixelError(
                    f"{plane.path.name} has no pixels.",
                    reason=Reason.NO_PIXELS,
                    hint="Export the images, not only their headers.",
                )
            stored = _stored(self._dataset, frame=plane.frame)
            padding = self._dataset.get("PixelPaddingValue")
            padding = None if padding is None else int(padding)
        except MALFORMED as error:
            raise _undecodable(self._dataset, plane=plane) from error
        if stored.shape != plane.size:
            raise PixelError(
                f"{plane.path.name} holds {stored.shape} pixels, but its header states "
                f"{plane.size}.",
                reason=Reason.UNREADABLE,
            )
        return stored, padding


def _undecodable(dataset: Dataset, *, plane: Plane) -> PixelError:
    syntax = UID(str(dataset.get("file_meta", {}).get("TransferSyntaxUID", "")))
    native = syntax.is_transfer_syntax and not syntax.is_encapsulated
    return PixelError(
        f"The pixels of {plane.path.name} are cut off or damaged.",
        reason=Reason.TRUNCATED if native else Reason.UNREADABLE,
        hint="Copy or export the series again.",
    )


def _stored(dataset: Dataset, *, frame: int) -> NDArray[Any]:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        has_decoder = get_decoder(syntax).is_available
    except NotImplementedError:
        has_decoder = False
    if has_decoder:
        array: NDArray[Any] = pixel_array(dataset, index=frame, raw=True)
        return array
    if syntax in _GDCM_SYNTAXES:
        return _decoded_by_gdcm(dataset, frame=frame)
    raise PixelError(
        f"The pixels are compressed in a way that is not supported ({syntax.name}).",
        reason=Reason.UNSUPPORTED_SYNTAX,
        hint="Export the series uncompressed or with JPEG 2000.",
    )


def _decoded_by_gdcm(dataset: Dataset, *, frame: int) -> NDArray[Any]:
    """Decode one frame wrapped alone into a file: GDCM then applies no rescale of its own."""
    alone = Dataset()
    for name in _PIXEL_ATTRIBUTES:
        setattr(alone, name, dataset[name].value)
    count = int(dataset.get("NumberOfFrames") or 1)
    content = get_frame(dataset.PixelData, frame, number_of_frames=count)
    alone.PixelData = encapsulate([content])
    alone["PixelData"].VR = "OB"
    alone.SOPClassUID = SecondaryCaptureImageStorage
    alone.SOPInstanceUID = generate_uid()
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    with TemporaryDirectory(prefix="livertumor-") as folder:
        path = Path(folder, "frame.dcm")
        alone.save_as(path, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        image: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    return np.squeeze(image, axis=0) if image.ndim == 3 else image
