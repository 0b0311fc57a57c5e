"""Stored pixel values of single frames, in every transfer syntax that permissive codecs decode.

pydicom decodes native, deflated, RLE, (with pyjpegls) JPEG-LS and (with OpenJPEG) high-throughput
JPEG 2000 data and notices missing bytes. JPEG and JPEG 2000 go through the GDCM inside SimpleITK:
no GPL codec is needed.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

from livertumor_cli.errors import PixelError, Reason
from livertumor_cli.io.codestream import stated_size
from livertumor_cli.io.dicom_file import MALFORMED, read_dataset, reason_of
from livertumor_cli.io.dicom_header import Plane

_GDCM_SYNTAXES = {
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended, 12 bit
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",
}
"""Always by GDCM, so that no other decoder that happens to be installed changes a value."""

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

    def read(self, plane: Plane) -> tuple[NDArray[Any], tuple[int, ...]]:
        """Stored values of one plane and the padding its file states.

        Args:
            plane: What to read.

        Returns:
            Integers, shape (rows, columns), as stored, and PixelPaddingValue with the end of its
            range, if there is one; empty if there is no padding.

        Raises:
            PixelError: no_pixels, truncated, unreadable or unsupported_syntax.
        """
        try:
            if self._path != plane.path:
                self._dataset, self._path = read_dataset(plane.path), plane.path
            if "PixelData" not in self._dataset:
                raise PixelError(
                    f"{plane.path.name} has no pixels.",
                    reason=Reason.NO_PIXELS,
                    hint="Export the images, not only their headers.",
                )
            _complete(self._dataset)
            stored = _stored(self._dataset, frame=plane.frame)
            padding = _padding(self._dataset, dtype=stored.dtype)
        except MALFORMED as error:
            raise _undecodable(self._dataset, error, plane=plane) from error
        if stored.shape != plane.size:
            raise PixelError(
                f"{plane.path.name} holds {stored.shape} pixels, but its header states "
                f"{plane.size}.",
                reason=Reason.UNREADABLE,
            )
        return stored, padding


def _complete(dataset: Dataset) -> None:
    """State what is not stated and can only be one thing in a CT."""
    for name, value in (("SamplesPerPixel", 1), ("PhotometricInterpretation", "MONOCHROME2")):
        if not dataset.get(name):
            setattr(dataset, name, value)
    if dataset.get("HighBit") is None and dataset.get("BitsStored"):
        dataset.HighBit = int(dataset.BitsStored) - 1


def _padding(dataset: Dataset, *, dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Padding as numbers of the stored type, whatever sign its attribute was written with."""
    values = [dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if values[0] is None or dtype.kind not in "iu":
        return ()
    bits = 8 * dtype.itemsize
    numbers = [int(value) % 2**bits for value in values if value is not None]
    half = 2 ** (bits - 1) if dtype.kind == "i" else 2**bits
    return tuple(number - 2**bits if number >= half else number for number in numbers)


def _undecodable(dataset: Dataset, error: Exception, *, plane: Plane) -> PixelError:
    absent = [name for name in _PIXEL_ATTRIBUTES if "PixelData" in dataset and name not in dataset]
    if absent:
        return PixelError(
            f"{plane.path.name} does not state {absent[0]}, without which its pixels mean nothing.",
            reason=Reason.UNREADABLE,
            hint="Export the series again.",
        )
    syntax = UID(str(dataset.get("file_meta", {}).get("TransferSyntaxUID", "")))
    native = syntax.is_transfer_syntax and not syntax.is_encapsulated
    return PixelError(
        f"The pixels of {plane.path.name} are cut off or damaged.",
        reason=Reason.TRUNCATED if native else reason_of(error),
        hint="Copy or export the series again.",
    )


def _stored(dataset: Dataset, *, frame: int) -> NDArray[Any]:
    syntax = UID(str(dataset.file_meta.TransferSyntaxUID))
    if syntax in _GDCM_SYNTAXES:
        _require_stated_size(dataset, frame=frame)
        return _decoded_by_gdcm(dataset, frame=frame)
    try:
        has_decoder = get_decoder(syntax).is_available
    except NotImplementedError:
        has_decoder = False
    if has_decoder:
        if syntax.is_encapsulated:
            _require_stated_size(dataset, frame=frame)
        array: NDArray[Any] = pixel_array(dataset, index=frame, raw=True)
        return array
    raise PixelError(
        f"The pixels are stored in a way that is not supported ({syntax.name}).",
        reason=Reason.UNSUPPORTED_SYNTAX,
        hint="Export the series uncompressed or with JPEG 2000.",
    )


def _require_stated_size(dataset: Dataset, *, frame: int) -> None:
    """Refuse a code stream of another size than the header states, before it takes memory."""
    size = stated_size(_code_stream(dataset, frame=frame))
    if size is not None and size != (dataset.Rows, dataset.Columns):
        raise ValueError("code stream and header differ in size")


def _code_stream(dataset: Dataset, *, frame: int) -> bytes:
    count = int(dataset.get("NumberOfFrames") or 1)
    content: bytes = get_frame(dataset.PixelData, frame, number_of_frames=count)
    return content


def _decoded_by_gdcm(dataset: Dataset, *, frame: int) -> NDArray[Any]:
    """Decode one frame wrapped alone into a file: GDCM then applies no rescale of its own."""
    alone = Dataset()
    for name in _PIXEL_ATTRIBUTES:
        setattr(alone, name, dataset[name].value)
    alone.PixelData = encapsulate([_code_stream(dataset, frame=frame)])
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
