"""DICOM series that are no regular CT stack are refused, each fault by its name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000MC,
)
from scans import (
    a_ct,
    datasets,
    write_series,
)

from livertumor_cli.errors import InputError, Reason
from livertumor_cli.io.dicom_ct import write_datasets
from livertumor_cli.io.formats import read_volume
from livertumor_cli.volume import Volume


def refusal(path: Path) -> InputError:
    """The error that refuses a path."""
    with pytest.raises(InputError) as caught:
        read_volume(path)
    return caught.value


def shifted(slices: list[Dataset], index: int, shift_mm: tuple[float, float, float]) -> None:
    """Move one slice."""
    old = slices[index].ImagePositionPatient
    slices[index].ImagePositionPatient = [o + s for o, s in zip(old, shift_mm, strict=True)]


def _missing(slices: list[Dataset]) -> None:
    del slices[2]


def _next_to_last_missing(slices: list[Dataset]) -> None:
    del slices[-2]


def _twice(slices: list[Dataset]) -> None:
    slices.append(deepcopy(slices[2]))
    slices[-1].PixelData = slices[3].PixelData


def _tilted(slices: list[Dataset]) -> None:
    for index in range(len(slices)):
        shifted(slices, index, (0.0, 0.2 * index, 0.0))


def _one_shifted(slices: list[Dataset]) -> None:
    shifted(slices, 3, (1.0, 0.0, 0.0))


def _turned(slices: list[Dataset]) -> None:
    slices[1].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def _resized(slices: list[Dataset]) -> None:
    slices[1].Rows, slices[1].Columns = 9, 7


def _rescaled(slices: list[Dataset]) -> None:
    slices[1].PixelSpacing = [0.9, 0.9]


def _without(name: str) -> Callable[[list[Dataset]], None]:
    def damage(slices: list[Dataset]) -> None:
        delattr(slices[1], name)

    return damage


def _all(**changes: object) -> Callable[[list[Dataset]], None]:
    def damage(slices: list[Dataset]) -> None:
        for dataset in slices:
            for name, value in changes.items():
                setattr(dataset, name, value)

    return damage


def _cut_pixels(slices: list[Dataset]) -> None:
    slices[1].PixelData = slices[1].PixelData[:50]


def _damaged_j2k(slices: list[Dataset]) -> None:
    slices[1].PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(40)])
    slices[1]["PixelData"].VR = "OB"
    slices[1].file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"


def _unknown_syntax(slices: list[Dataset]) -> None:
    slices[1].PixelData = encapsulate([bytes(40)])
    slices[1]["PixelData"].VR = "OB"
    slices[1].file_meta.TransferSyntaxUID = JPEG2000MC


def _single(slices: list[Dataset]) -> None:
    del slices[1:]


def _two_frames_of_reference(slices: list[Dataset]) -> None:
    for dataset in slices[3:]:
        dataset.FrameOfReferenceUID = "1.2.3"


def _far_away(slices: list[Dataset]) -> None:
    for index, dataset in enumerate(slices):
        dataset.ImagePositionPatient = ["1e300", "0", str(index)]


def _two_patients(slices: list[Dataset]) -> None:
    slices[1].PatientID = "OTHER"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_missing, Reason.MISSING_SLICES),
        (_next_to_last_missing, Reason.MISSING_SLICES),
        (_twice, Reason.DUPLICATE_SLICES),
        (_tilted, Reason.GANTRY_TILT),
        (_one_shifted, Reason.MIXED_SPACING),
        (_turned, Reason.MIXED_ORIENTATION),
        (_resized, Reason.MIXED_SIZES),
        (_rescaled, Reason.MIXED_SPACING),
        (_without("ImagePositionPatient"), Reason.NO_POSITIONS),
        (_without("ImageOrientationPatient"), Reason.NO_ORIENTATION),
        (_without("PixelSpacing"), Reason.NO_SPACING),
        (_without("PixelData"), Reason.NO_PIXELS),
        (_cut_pixels, Reason.TRUNCATED),
        (_damaged_j2k, Reason.UNREADABLE),
        (_unknown_syntax, Reason.UNSUPPORTED_SYNTAX),
        (_single, Reason.TOO_FEW_SLICES),
        (_two_frames_of_reference, Reason.MIXED_ORIENTATION),
        (_far_away, Reason.NO_POSITIONS),
        (_two_patients, Reason.SEVERAL_PATIENTS),
        (_all(Modality="MR"), Reason.NOT_CT),
        (_all(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), Reason.SECONDARY_CAPTURE),
        (_all(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), Reason.LOCALIZER),
        (_all(ImageType=["DERIVED", "PRIMARY", "PERFUSION"]), Reason.NOT_HU),
        (_all(ImageType=["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]), Reason.NOT_HU),
        (_all(ImageType=["DERIVED", "SECONDARY", "OTHER", "VRT"]), Reason.NOT_HU),
        (_all(SOPClassUID="1.2.840.10008.5.1.4.1.1.128"), Reason.NOT_CT),
        (_without("PixelRepresentation"), Reason.UNREADABLE),
        (_without("BitsStored"), Reason.UNREADABLE),
        (_all(RescaleType="Z_EFF"), Reason.NOT_HU),
        (_all(RescaleIntercept=0), Reason.NOT_HU),
        (_all(SamplesPerPixel=3), Reason.COLOUR),
        (_all(ImageOrientationPatient=[1, 0, 0, 0.5, 0.5, 0]), Reason.NO_ORIENTATION),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_faults_have_names(tmp_path: Path, ct: Volume, damage, reason: Reason):
    slices = datasets(ct)
    damage(slices)
    write_datasets(tmp_path, slices)
    error = refusal(tmp_path)
    assert error.reason == reason
    assert error.message.endswith(".")
    assert error.hint


def test_what_the_pixels_need_is_named(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    del slices[1].PixelRepresentation
    write_datasets(tmp_path, slices)
    assert "slice0002.dcm does not state PixelRepresentation" in refusal(tmp_path).message


def test_another_class_that_calls_itself_ct_is_said_to_be_one(tmp_path: Path, ct: Volume):
    write_datasets(tmp_path, datasets(ct, SOPClassUID="1.2.840.10008.5.1.4.1.1.128"))
    assert "objects of another class that call themselves CT" in refusal(tmp_path).message


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, ct: Volume, monkeypatch: pytest.MonkeyPatch
):
    """A slice that another program holds, say; its folder can be read."""
    paths = write_series(tmp_path, ct)
    opened = Path.open

    def locked(path: Path, *arguments: object, **options: object) -> object:
        if path.name == paths[2].name:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", locked)
    error = refusal(tmp_path)
    assert error.reason == Reason.UNREADABLE
    assert error.message == f"{paths[2].name} cannot be read: Permission denied."


def test_positions_rounded_to_a_tenth_pass(tmp_path: Path):
    written = a_ct(spacing_mm=(1.25, 0.8, 0.7))
    slices = datasets(written)
    for dataset in slices:
        dataset.ImagePositionPatient = [round(float(v), 1) for v in dataset.ImagePositionPatient]
    write_datasets(tmp_path, slices)
    read = read_volume(tmp_path)
    assert read.geometry.is_same_grid(written.geometry, tolerance_mm=0.1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.TRUNCATED),
        (b"<html>not found</html>", Reason.NOT_AN_IMAGE),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", Reason.UNREADABLE),
    ],
    ids=["empty", "text", "no file header"],
)
def test_a_file_in_place_of_the_last_slice_is_refused(
    tmp_path: Path, ct: Volume, content: bytes, reason: Reason
):
    paths = write_series(tmp_path, ct)
    paths[-1].write_bytes(content)  # no gap would show that the last slice is gone
    assert refusal(tmp_path).reason == reason


def test_a_broken_header_is_refused(tmp_path: Path, ct: Volume):
    paths = write_series(tmp_path, ct)
    content = paths[0].read_bytes()
    assert content.count(b"DS\x08\x00-1024.0 ") == 1
    paths[0].write_bytes(content.replace(b"DS\x08\x00-1024.0 ", b"DS\x08\x00-1O24.0 "))
    assert refusal(tmp_path).reason == Reason.UNREADABLE


@settings(max_examples=60, deadline=None)
@given(place=st.integers(132, 1500), value=st.integers(0, 255))
def test_no_byte_of_a_header_makes_it_crash(tmp_path_factory, place: int, value: int):
    folder = tmp_path_factory.mktemp("fuzz")
    path = write_series(folder, a_ct())[1]
    content = bytearray(path.read_bytes())
    content[min(place, len(content) - 1)] = value
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        read_volume(folder)


@pytest.mark.parametrize("uid", [b"1.3.46.670589.33.1.4", b"1.2.840.113619.5.2\x00\x00"])
def test_private_syntaxes_are_named(tmp_path: Path, ct: Volume, uid: bytes):
    for path in write_series(tmp_path, ct):
        content = path.read_bytes()
        assert content.count(b"1.2.840.10008.1.2.1\x00") == 1
        path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\x00", uid))
    assert refusal(tmp_path).reason == Reason.UNSUPPORTED_SYNTAX
