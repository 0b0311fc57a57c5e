"""Peculiarities of scanners and archives that must not disturb: every volume is the one written."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)
from scans import BRIGHT, BRIGHT_HU, a_ct, assert_same_patient, datasets, write_series
from scipy.spatial.transform import Rotation

from livertumor_cli.errors import InputError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_ct import ct_datasets, write_datasets
from livertumor_cli.io.formats import read_volume
from livertumor_cli.volume import AIR_HU, Volume

Damage = Callable[[list[Dataset]], None]


def without(*names: str) -> Damage:
    def change(slices: list[Dataset]) -> None:
        for dataset in slices:
            for name in names:
                if name in dataset:
                    delattr(dataset, name)

    return change


def with_all(**values: object) -> Damage:
    def change(slices: list[Dataset]) -> None:
        for dataset in slices:
            for name, value in values.items():
                setattr(dataset, name, value)

    return change


def _wrong_slice_location(slices: list[Dataset]) -> None:
    for index, dataset in enumerate(slices):
        dataset.SliceLocation = [5.0, -3.0, 5.0, 99.0, 0.0, 1.0][index]


def _equal_instance_numbers(slices: list[Dataset]) -> None:
    for dataset in slices:
        dataset.InstanceNumber = 1


def _reversed_instance_numbers(slices: list[Dataset]) -> None:
    for index, dataset in enumerate(slices):
        dataset.InstanceNumber = -index


def _jitter(slices: list[Dataset]) -> None:
    for index, dataset in enumerate(slices):
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        off = (0.004, -0.003, 0.0, 0.005, -0.004, 0.002)[index]
        dataset.ImagePositionPatient = [x + off, y - off, z + off]


def _private_tags(slices: list[Dataset]) -> None:
    for dataset in slices:
        dataset.add(DataElement(0x00090010, "LO", "GEMS_IDEN_01"))
        dataset.add(DataElement(0x00091027, "SL", 12345))
        dataset.add(DataElement(0x00431010, "OB", b"\x00" * 4000))
        nested = Dataset()
        nested.add(DataElement(0x00290010, "LO", "SIEMENS CSA HEADER"))
        dataset.add(DataElement(0x00511020, "SQ", Sequence([nested])))


def _overlay_planes(slices: list[Dataset]) -> None:
    for dataset in slices:
        dataset.add(DataElement(0x60000010, "US", dataset.Rows))
        dataset.add(DataElement(0x60000011, "US", dataset.Columns))
        dataset.add(DataElement(0x60000100, "US", 1))
        dataset.add(DataElement(0x60003000, "OW", bytes(8)))


def _icon(slices: list[Dataset]) -> None:
    """An icon inside the header has rows, columns and pixels of its own."""
    for dataset in slices:
        icon = Dataset()
        icon.Rows = icon.Columns = 4
        icon.BitsAllocated = icon.BitsStored = 8
        icon.PixelData = bytes(16)
        icon["PixelData"].VR = "OB"
        dataset.IconImageSequence = Sequence([icon])


def _referenced(slices: list[Dataset]) -> None:
    """References carry SOP class and instance UIDs of other images."""
    for dataset in slices:
        other = Dataset()
        other.ReferencedSOPClassUID = CTImageStorage
        other.ReferencedSOPInstanceUID = "1.2.3.4"
        dataset.ReferencedImageSequence = Sequence([other])


@pytest.mark.parametrize(
    "change",
    [
        without("InstanceNumber"),
        without("SliceThickness"),
        with_all(SliceThickness=None),
        with_all(SliceThickness="0"),
        with_all(SliceThickness="-1e20"),
        with_all(SpacingBetweenSlices="7.5"),
        with_all(SpacingBetweenSlices="-2.5"),
        with_all(GantryDetectorTilt="12"),
        with_all(PatientPosition="FFP"),
        with_all(PatientPosition="HFDR"),
        without("ImageType"),
        with_all(ImageType="ORIGINAL"),
        with_all(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]),
        with_all(ImageType=["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]),
        without("PatientID"),
        without("PatientID", "PatientName"),
        without("Modality"),
        without("RescaleType"),
        with_all(RescaleType="US"),
        with_all(RescaleType="Hounsfield"),
        without("HighBit"),
        without("SeriesNumber"),
        with_all(SeriesNumber=None),
        without("SeriesInstanceUID"),
        without("StudyInstanceUID"),
        without("FrameOfReferenceUID"),
        without("PhotometricInterpretation"),
        with_all(SeriesDescription=None),
        with_all(ConvolutionKernel=["I30f", "3"]),
        with_all(ConvolutionKernel=None),
        with_all(ContrastBolusAgent=""),
        with_all(ContrastBolusStartTime="1015", AcquisitionTime="101612.5"),
        with_all(ContrastBolusStartTime="nonsense"),
        with_all(PixelAspectRatio=[1, 1]),
        with_all(WindowCenter=[40, 400], WindowWidth=[400, 2000]),
        with_all(SmallestImagePixelValue=0, LargestImagePixelValue=1),
        with_all(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen"),
        with_all(SpecificCharacterSet=["", "ISO 2022 IR 87"]),
        with_all(BurnedInAnnotation="NO"),
        with_all(TemporalPositionIdentifier=1),
        with_all(AcquisitionNumber=3),
        with_all(NumberOfFrames=1),
        with_all(LossyImageCompression="00"),
        with_all(PixelPaddingValue=0),
        _wrong_slice_location,
        _equal_instance_numbers,
        _reversed_instance_numbers,
        _private_tags,
        _overlay_planes,
        _icon,
        _referenced,
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_peculiarities_change_nothing(tmp_path: Path, ct: Volume, change: Damage):
    slices = datasets(ct)
    change(slices)
    write_datasets(tmp_path, slices)
    assert_same_patient(read_volume(tmp_path), ct)


def test_positions_that_jitter_by_some_micrometers_are_one_stack(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    _jitter(slices)
    write_datasets(tmp_path, slices)
    assert read_volume(tmp_path).geometry.is_same_grid(ct.geometry, tolerance_mm=0.01)


@pytest.mark.parametrize("digits", [4, 5, 6])
@pytest.mark.parametrize("turn", [(0.2, 0, 0), (0.1, -0.05, 0.3), (0, 0, 3.0)])
def test_rounded_cosines(tmp_path: Path, digits: int, turn: tuple[float, float, float]):
    written = a_ct(rotation=Rotation.from_rotvec(turn).as_matrix())
    slices = datasets(written)
    for index, dataset in enumerate(slices):
        wobble = 10.0**-digits * (index % 2)
        cosines = [round(float(c), digits) + wobble for c in dataset.ImageOrientationPatient]
        dataset.ImageOrientationPatient = [f"{value:.{digits}f}" for value in cosines]
    write_datasets(tmp_path, slices)
    assert read_volume(tmp_path).geometry.is_same_grid(written.geometry, tolerance_mm=0.02)


POSITIONS = {
    "head first, prone": np.diag([-1.0, -1.0, 1.0]),
    "feet first, supine": np.diag([-1.0, 1.0, -1.0]),
    "feet first, prone": np.diag([1.0, -1.0, -1.0]),
    "decubitus right": np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    "decubitus left": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
}


@pytest.mark.parametrize("position", POSITIONS)
def test_patient_positions(tmp_path: Path, position: str):
    written = a_ct(rotation=POSITIONS[position])
    write_series(tmp_path, written)
    assert_same_patient(read_volume(tmp_path), written)


NAMES = [
    "IM{0:04d}",
    "IM{0:04d}.DCM",
    "CT.1.2.840.113619.2.55.{0}",
    "1.2.840.113704.1.111.{0}",
    "{0:08d}.ima",
    "I{0}0",
    "Schnitt {0} (ä).dcm",
    "-{0}.dcm",
    "{0}.txt",
    "{0}.nii_",
]


@pytest.mark.parametrize("name", NAMES)
def test_file_names_do_not_matter(tmp_path: Path, ct: Volume, name: str):
    for number, path in enumerate(write_series(tmp_path / "Study A" / "SER00001", ct)):
        path.rename(path.with_name(name.format(number)))
    assert_same_patient(read_volume(tmp_path), ct)


def test_slices_in_folders_of_their_own(tmp_path: Path, ct: Volume):
    for number, path in enumerate(write_series(tmp_path, ct)):
        folder = tmp_path / f"{number % 3}" / ("x" * (number + 1))
        folder.mkdir(parents=True)
        path.rename(folder / path.name)
    assert_same_patient(read_volume(tmp_path), ct)


def test_the_same_files_twice_count_once(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "DICOM", ct)
    write_series(tmp_path / "copy of DICOM", ct)
    assert_same_patient(read_volume(tmp_path), ct)


def test_two_exports_of_the_same_images_count_once(tmp_path: Path, ct: Volume):
    """Another archive writes another file header; the images are the same."""
    write_datasets(tmp_path / "one", datasets(ct))
    again = datasets(ct, RetrieveAETitle="ARCHIVE", SeriesDescription="copied")
    write_datasets(tmp_path / "two", again)
    assert_same_patient(read_volume(tmp_path), ct)


@pytest.mark.parametrize("change", ["pixels", "place", "values"])
def test_other_images_under_the_same_uids_are_no_copies(tmp_path: Path, ct: Volume, change: str):
    write_datasets(tmp_path / "one", datasets(ct))
    again = datasets(ct)
    if change == "pixels":
        again[2].PixelData = again[3].PixelData
    elif change == "place":
        again[2].PixelSpacing = ["0.8001", "0.7001"]
    else:
        again[2].RescaleIntercept = -1023
    write_datasets(tmp_path / "two", again)
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path)
    assert caught.value.reason == Reason.DUPLICATE_SLICES
    assert caught.value.message.startswith("2 slices share their position")


def bare(dataset: Dataset, syntax: str) -> bytes:
    """A data set without preamble and file meta information."""
    from io import BytesIO

    dataset = deepcopy(dataset)
    del dataset.file_meta
    stream = BytesIO()
    dataset.save_as(
        stream,
        enforce_file_format=False,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=True,
    )
    return stream.getvalue()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_data_sets_without_file_header(tmp_path: Path, ct: Volume, syntax: str):
    for number, dataset in enumerate(datasets(ct)):
        (tmp_path / f"{number}").write_bytes(bare(dataset, syntax))
    assert_same_patient(read_volume(tmp_path), ct)


def test_files_without_preamble(tmp_path: Path, ct: Volume):
    for path in write_series(tmp_path, ct):
        path.write_bytes(path.read_bytes()[132:])
    assert_same_patient(read_volume(tmp_path), ct)


def test_a_preamble_of_another_format(tmp_path: Path, ct: Volume):
    for path in write_series(tmp_path, ct):
        path.write_bytes(b"II*\x00" + bytes(124) + path.read_bytes()[128:])
    assert_same_patient(read_volume(tmp_path), ct)


def test_big_endian(tmp_path: Path, ct: Volume):
    for dataset, number in zip(datasets(ct), range(6), strict=True):
        dataset["PixelData"].VR = "OW"
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset.save_as(
            tmp_path / f"{number}", enforce_file_format=True, implicit_vr=False, little_endian=False
        )
    assert_same_patient(read_volume(tmp_path), ct)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_12_bits_in_16_with_overlays_in_the_others(
    tmp_path: Path, ct: Volume, signed: bool, compressed: bool
):
    slices = ct_datasets(ct, seed="s", intercept=0 if signed else -1024)
    for dataset in slices:
        values = np.frombuffer(dataset.PixelData, "<u2") & 0x0FFF
        dataset.PixelData = (values if compressed else values | 0x5000).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit = 12, 11
        if compressed:
            dataset.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    write_datasets(tmp_path, slices)
    assert_same_patient(read_volume(tmp_path), ct)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [12, 13, 16])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"])
def test_compressed_signed_and_narrow_values(
    tmp_path: Path, ct: Volume, signed: bool, bits: int, syntax: str
):
    ct = enlarged(ct)
    slices = ct_datasets(ct, seed="s", intercept=0 if signed else -1024)
    for dataset in slices:
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        dataset.compress(syntax, generate_instance_uid=False)
    write_datasets(tmp_path, slices)
    assert_same_patient(read_volume(tmp_path), ct)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"])
def test_compressed_without_high_bit(tmp_path: Path, ct: Volume, syntax: str):
    """It can only be the last stored bit."""
    ct = enlarged(ct)
    slices = ct_datasets(ct, seed="s")
    for dataset in slices:
        dataset.compress(syntax, generate_instance_uid=False)
        del dataset.HighBit
    write_datasets(tmp_path, slices)
    assert_same_patient(read_volume(tmp_path), ct)


def test_jpeg_lossless_signed(tmp_path: Path, ct: Volume):
    """ITK writes what pydicom cannot."""
    import SimpleITK as sitk

    slices = ct_datasets(ct, seed="s", intercept=0)
    write_datasets(tmp_path / "plain", slices)
    (tmp_path / "packed").mkdir()
    for path in sorted((tmp_path / "plain").iterdir()):
        image = sitk.ReadImage(str(path), sitk.sitkInt16)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        for key in reader.GetMetaDataKeys():
            image.SetMetaData(key, reader.GetMetaData(key))
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(tmp_path / "packed" / path.name))
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(image)
        assert (
            dcmread(tmp_path / "packed" / path.name).file_meta.TransferSyntaxUID == JPEGLosslessSV1
        )
    assert_same_patient(read_volume(tmp_path / "packed"), ct)


@pytest.mark.parametrize("tag_signed", [False, True])
def test_padding_whose_tag_has_the_other_sign(tmp_path: Path, ct: Volume, tag_signed: bool):
    slices = datasets(ct, PixelRepresentation=0)
    for dataset in slices:
        values = np.frombuffer(dataset.PixelData, "<u2").copy()
        values[:9] = 63536
        dataset.PixelData = values.tobytes()
        vr, value = ("SS", -2000) if tag_signed else ("US", 63536)
        dataset.add(DataElement(0x00280120, vr, value))
    write_datasets(tmp_path, slices)
    volume = read_volume(tmp_path)
    assert volume.hu.max() == BRIGHT_HU
    assert (volume.hu[:, 0] == AIR_HU).all()


def test_a_padding_range(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    for dataset in slices:
        values = np.frombuffer(dataset.PixelData, "<u2").copy()
        values[:9] = np.arange(60000, 60009)
        dataset.PixelData = values.tobytes()
        dataset.add(DataElement(0x00280120, "US", 60000))
        dataset.add(DataElement(0x00280121, "US", 60010))
    write_datasets(tmp_path, slices)
    assert read_volume(tmp_path).hu.max() == BRIGHT_HU


def test_no_rescale_at_all_where_values_are_hu(tmp_path: Path, ct: Volume):
    slices = ct_datasets(ct, seed="s", intercept=0)
    without("RescaleSlope", "RescaleIntercept", "RescaleType")(slices)
    write_datasets(tmp_path, slices)
    assert_same_patient(read_volume(tmp_path), ct)


def test_rescale_of_some_slices_only_is_refused(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    without("RescaleSlope", "RescaleIntercept")(slices[3:4])
    write_datasets(tmp_path, slices)
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path)
    assert caught.value.reason == Reason.NOT_HU


def test_lossy_compression_is_noted(tmp_path: Path, ct: Volume):
    write_datasets(tmp_path, datasets(ct, LossyImageCompression="01"))
    assert "compressed with loss" in read_volume(tmp_path).source.notes[0]


def enhanced(ct: Volume, *, per_frame: bool = True, order: tuple[int, ...] = ()) -> Dataset:
    """One multi-frame file; what differs between frames is in per-frame groups."""
    slices = datasets(ct)
    slices = [slices[index] for index in order or range(len(slices))]
    whole = deepcopy(slices[0])
    for name in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
    ):
        delattr(whole, name)
    whole.SOPClassUID = EnhancedCTImageStorage
    whole.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    whole.NumberOfFrames = len(slices)
    whole.PixelData = b"".join(dataset.PixelData for dataset in slices)
    measures, turn, values = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = slices[0].PixelSpacing
    measures.SliceThickness = slices[0].SliceThickness
    turn.ImageOrientationPatient = slices[0].ImageOrientationPatient
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -1024, "HU"
    common = {
        "PixelMeasuresSequence": measures,
        "PlaneOrientationSequence": turn,
        "PixelValueTransformationSequence": values,
    }
    shared = Dataset()
    frames = []
    for dataset in slices:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = dataset.ImagePositionPatient
        frame.PlanePositionSequence = Sequence([place])
        for name, item in common.items():
            setattr(frame if per_frame else shared, name, Sequence([deepcopy(item)]))
        frames.append(frame)
    whole.SharedFunctionalGroupsSequence = Sequence([shared])
    whole.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return whole


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("syntax", ["", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"])
def test_enhanced_ct_in_any_frame_order(tmp_path: Path, ct: Volume, per_frame: bool, syntax: str):
    whole = enhanced(ct, per_frame=per_frame, order=(3, 1, 0, 5, 2, 4))
    if syntax:
        whole.compress(syntax, generate_instance_uid=False)
    write_datasets(tmp_path, [whole])
    volume = read_volume(tmp_path)
    assert_same_patient(volume, ct)
    assert volume.hu[BRIGHT] == BRIGHT_HU


def enlarged(ct: Volume) -> Volume:
    """JPEG 2000 takes no smaller images."""
    hu = np.repeat(np.repeat(ct.hu, 9, axis=1), 9, axis=2)
    return Volume(hu, Geometry.from_spacing(hu.shape, spacing_mm=(2.5, 0.8, 0.7)))


def test_enhanced_ct_in_jpeg_2000(tmp_path: Path, ct: Volume):
    large = enlarged(ct)
    whole = enhanced(large, order=(3, 1, 0, 5, 2, 4))
    whole.compress("1.2.840.10008.1.2.4.90", generate_instance_uid=False)
    write_datasets(tmp_path, [whole])
    assert_same_patient(read_volume(tmp_path), large)


def test_enhanced_ct_with_a_rescale_per_frame(tmp_path: Path, ct: Volume):
    whole = enhanced(ct)
    stored = np.frombuffer(whole.PixelData, "<u2").reshape(6, -1).copy()
    for index, frame in enumerate(whole.PerFrameFunctionalGroupsSequence):
        frame.PixelValueTransformationSequence[0].RescaleIntercept = -1024 - index
        stored[index] += index
    whole.PixelData = stored.tobytes()
    write_datasets(tmp_path, [whole])
    assert_same_patient(read_volume(tmp_path), ct)


def test_enhanced_ct_of_two_time_points_is_refused(tmp_path: Path, ct: Volume):
    write_datasets(tmp_path, [enhanced(ct, order=(0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5))])
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path)
    assert caught.value.reason == Reason.DUPLICATE_SLICES
