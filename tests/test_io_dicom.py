"""DICOM series: regular stacks land at their place, and the right series is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
)
from scans import (
    BRIGHT,
    BRIGHT_HU,
    a_ct,
    assert_same_patient,
    bright_lps,
    datasets,
    write_series,
)
from scipy.spatial.transform import Rotation

from livertumor_cli.errors import InputError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_ct import ct_datasets, write_ct_series, write_datasets
from livertumor_cli.io.formats import read_volume
from livertumor_cli.volume import Volume


def refusal(path: Path) -> InputError:
    """The error that refuses a path."""
    with pytest.raises(InputError) as caught:
        read_volume(path)
    return caught.value


def test_a_series_keeps_values_place_and_names(tmp_path: Path, ct: Volume):
    write_series(tmp_path, ct)
    volume = read_volume(tmp_path)
    assert volume.hu.dtype == np.int16
    assert volume.hu[BRIGHT] == BRIGHT_HU
    assert bright_lps(volume) == pytest.approx([-115.8, 37.1, 420.25], abs=1e-6)
    assert volume.source.kind == "dicom"
    assert volume.source.series_uid == datasets(ct)[0].SeriesInstanceUID
    assert volume.source.sop_instance_uids == tuple(d.SOPInstanceUID for d in datasets(ct))


def test_a_seed_makes_uids_repeatable(ct: Volume):
    one, two = ct_datasets(ct, seed="a")[3], ct_datasets(ct, seed="a")[3]
    assert one.SOPInstanceUID == two.SOPInstanceUID
    assert ct_datasets(ct)[3].SOPInstanceUID != ct_datasets(ct)[3].SOPInstanceUID


def test_a_sheared_grid_cannot_become_a_series(ct: Volume, tmp_path: Path):
    affine = ct.geometry.affine_lps.copy()
    affine[1, 2] += 1.0
    with pytest.raises(ValueError, match="sheared"):
        write_ct_series(tmp_path, Volume(ct.hu, Geometry(ct.hu.shape, affine)))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    spacing=st.tuples(*[st.floats(0.3, 6.0)] * 3),
    origin=st.tuples(*[st.floats(-600.0, 600.0)] * 3),
    order=st.permutations(range(6)),
    mirrored=st.booleans(),
)
def test_any_grid_and_file_order_comes_back(
    tmp_path_factory, seed, spacing, origin, order, mirrored
):
    # Mirrored: the slice axis runs against the normal of the rows and columns.
    rotation = Rotation.random(rng=seed).as_matrix() @ np.diag([1.0, 1.0, -1.0 if mirrored else 1])
    written = a_ct(spacing_mm=spacing, origin_mm=origin, rotation=rotation)
    folder = tmp_path_factory.mktemp("series")
    slices = datasets(written)
    write_datasets(folder, [slices[index] for index in order])
    read = read_volume(folder)
    assert_same_patient(read, written)
    by_place = [slices[index].SOPInstanceUID for index in range(6)]
    assert list(read.source.sop_instance_uids) == (by_place[::-1] if mirrored else by_place)


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_coronal_and_sagittal_series_load(tmp_path: Path, plane: str):
    axes = {
        "coronal": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
        "sagittal": [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
    }
    written = a_ct(rotation=np.array(axes[plane], dtype=float))
    write_series(tmp_path, written)
    assert_same_patient(read_volume(tmp_path), written)


def test_slope_and_intercept_of_each_slice(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    for index, dataset in enumerate(slices):
        slope = (1.0, 2.0, 0.5)[index % 3]
        stored = np.rint((ct.hu[index].astype(float) + 1024) / slope).astype("<u2")
        dataset.RescaleSlope, dataset.PixelData = slope, stored.tobytes()
    write_datasets(tmp_path, slices)
    volume = read_volume(tmp_path)
    assert volume.hu.dtype == np.float32
    assert np.abs(volume.hu - ct.hu).max() <= 1.0
    assert volume.hu[BRIGHT] == BRIGHT_HU


def test_signed_values_and_padding(tmp_path: Path, ct: Volume):
    slices = ct_datasets(ct, seed="s", intercept=0)
    for dataset in slices:
        values = np.frombuffer(dataset.PixelData, "<i2").copy()
        values[:9] = -2000
        dataset.PixelData, dataset.PixelPaddingValue = values.tobytes(), -2000
    write_datasets(tmp_path, slices)
    volume = read_volume(tmp_path)
    assert volume.hu.min() == -1024
    assert volume.hu[BRIGHT] == BRIGHT_HU


def test_padding_read_as_a_huge_unsigned_number_is_air(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    for dataset in slices:
        values = np.frombuffer(dataset.PixelData, "<u2").copy()
        values[:9] = 63536
        dataset.PixelData, dataset.PixelPaddingValue = values.tobytes(), 63536
    write_datasets(tmp_path, slices)
    assert read_volume(tmp_path).hu.max() == BRIGHT_HU


def test_values_beyond_int16_keep_their_size(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    values = np.frombuffer(slices[2].PixelData, "<u2").copy()
    values[30] = 60000
    slices[2].PixelData = values.tobytes()
    write_datasets(tmp_path, slices)
    assert read_volume(tmp_path).hu.max() == 60000 - 1024


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian]
)
def test_transfer_syntaxes(tmp_path: Path, ct: Volume, syntax: str):
    slices = datasets(ct)
    for dataset in slices:
        if syntax in (RLELossless, JPEGLSLossless):
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
    write_datasets(tmp_path, slices)
    assert_same_patient(read_volume(tmp_path), ct)


def test_localizers_reports_and_other_files_are_passed_over(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "ct", ct)
    scout = datasets(ct, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], Rows=7)[:1]
    write_datasets(tmp_path / "scout", scout)
    write_datasets(tmp_path / "mr", datasets(ct, seed="mr", Modality="MR"))
    (tmp_path / "README.txt").write_text("no image", encoding="utf-8")
    assert_same_patient(read_volume(tmp_path), ct)


def test_the_series_that_covers_most_is_taken(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "long", ct, seed="long")
    write_datasets(tmp_path / "short", datasets(ct, seed="short")[:4])
    assert read_volume(tmp_path).source.series_uid == datasets(ct, seed="long")[0].SeriesInstanceUID


def write_dicomdir(folder: Path, files: list[Path]) -> None:
    """A DICOMDIR that lists some files of its folder."""
    records = []
    for path in files:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = list(path.relative_to(folder).parts)
        records.append(record)
    directory = Dataset()
    directory.DirectoryRecordSequence = records
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)


def test_a_dicomdir_and_its_folder_give_the_same(tmp_path: Path, ct: Volume):
    written = write_series(tmp_path / "IMAGES", ct)
    paths = [path.rename(path.with_name(path.stem.upper())) for path in written]
    write_dicomdir(tmp_path, paths)
    assert_same_patient(read_volume(tmp_path / "DICOMDIR"), ct)
    assert_same_patient(read_volume(tmp_path), ct)
    paths[-1].unlink()
    assert refusal(tmp_path / "DICOMDIR").reason == Reason.MISSING_SLICES


@pytest.mark.parametrize("style", [str.lower, "{}.".format, "{};1".format, "{}.;1".format])
def test_a_dicomdir_whose_disk_writes_names_otherwise(tmp_path: Path, ct: Volume, style):
    written = write_series(tmp_path / "IMAGES", ct)
    listed = [path.rename(path.with_name(path.stem.upper())) for path in written]
    write_dicomdir(tmp_path, listed)
    for path in listed:
        path.rename(path.with_name(style(path.name)))
    (tmp_path / "IMAGES").rename(tmp_path / "images")
    assert_same_patient(read_volume(tmp_path / "DICOMDIR"), ct)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("parts", [["..", "secret"], ["", "etc"], ["/etc", "hostname"], ["C:"]])
def test_a_dicomdir_that_climbs_is_refused(tmp_path: Path, ct: Volume, parts: list[str]):
    paths = write_series(tmp_path, ct)
    write_dicomdir(tmp_path, paths)
    directory = dcmread(tmp_path / "DICOMDIR")
    directory.DirectoryRecordSequence[2].ReferencedFileID = parts
    directory.save_as(tmp_path / "DICOMDIR")
    assert refusal(tmp_path / "DICOMDIR").reason == Reason.UNSAFE_ARCHIVE
