"""NIfTI: what is read lands at its place in the patient; what is doubtful is refused by name."""

from __future__ import annotations

import contextlib
import gzip
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scans import BRIGHT, BRIGHT_HU, a_ct, a_label_map, assert_same_patient, bright_lps, nifti_image
from scipy.spatial.transform import Rotation

from livertumor_cli.errors import InputError, Reason
from livertumor_cli.io.formats import read_volume, write_label_map, write_volume
from livertumor_cli.io.nifti import read_nifti
from livertumor_cli.volume import Volume


def refusal(path: Path) -> Reason:
    """The reason why a file is refused."""
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert caught.value.message.endswith(".")
    return caught.value.reason


def saved(image: nib.Nifti1Image, folder: Path, name: str = "ct.nii.gz") -> Path:
    """The image as file."""
    nib.save(image, folder / name)
    return folder / name


def test_a_plain_file_keeps_values_type_and_place(tmp_path: Path, ct: Volume):
    volume = read_nifti(saved(nifti_image(ct), tmp_path))
    assert volume.hu.dtype == np.int16
    assert volume.hu[BRIGHT] == BRIGHT_HU
    assert volume.source.kind == "nifti"
    # origin + index * spacing: x -120 + 6 * 0.7, y 35.5 + 2 * 0.8, z 410.25 + 4 * 2.5
    assert bright_lps(volume) == pytest.approx([-115.8, 37.1, 420.25], abs=1e-4)
    assert volume.geometry.axis_codes() == "SPL"


def test_all_48_axis_orders_lie_at_one_place(tmp_path: Path, ct: Volume):
    array, affine = ct.hu.T, np.diag([-1.0, -1, 1, 1]) @ ct.geometry.affine_lps
    codes = set()
    for order, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        stored = array.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
        moved = np.eye(4)
        moved[:3, :3] = affine[:3, :3][:, order] * flips
        first = [
            (array.shape[axis] - 1) * (flip < 0) for axis, flip in zip(order, flips, strict=True)
        ]
        moved[:3, 3] = affine[:3, 3] + affine[:3, :3][:, order] @ first
        volume = read_nifti(saved(nib.Nifti1Image(stored, moved), tmp_path))
        assert_same_patient(volume, ct)
        codes.add(volume.geometry.axis_codes())
    assert len(codes) == 48


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    spacing=st.tuples(*[st.floats(0.3, 6.0)] * 3),
    origin=st.tuples(*[st.floats(-600.0, 600.0)] * 3),
    mirrored=st.booleans(),
)
def test_any_grid_comes_back(tmp_path_factory, seed, spacing, origin, mirrored):
    rotation = Rotation.random(rng=seed).as_matrix() @ np.diag([1.0, 1.0, -1.0 if mirrored else 1])
    volume = a_ct(spacing_mm=spacing, origin_mm=origin, rotation=rotation)
    path = tmp_path_factory.mktemp("nifti") / "ct.nii"
    write_volume(path, volume)
    assert_same_patient(read_volume(path), volume)
    image = nib.load(path)
    assert np.allclose(
        np.diag([-1, -1, 1, 1]) @ image.affine, volume.geometry.affine_lps, atol=1e-3
    )


def test_label_map_states_one_scanner_grid(tmp_path: Path, ct: Volume):
    labels = a_label_map(ct)
    write_label_map(tmp_path / "mask.nii.gz", labels)
    image = nib.load(tmp_path / "mask.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert int(image.header["qform_code"]) == int(image.header["sform_code"]) == 1
    assert np.array_equal(np.asarray(image.dataobj).T, labels.labels)
    assert np.allclose(image.header.get_qform(), image.header.get_sform(), atol=1e-4)


def test_the_same_mask_gives_the_same_bytes(tmp_path: Path, ct: Volume):
    for name in ("one.nii.gz", "two.nii.gz"):
        write_label_map(tmp_path / name, a_label_map(ct))
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


def test_other_label_types_are_a_programming_error(tmp_path: Path, ct: Volume):
    labels = a_label_map(ct)
    wrong = type(labels)(labels.labels.astype(np.int64), labels.geometry)
    with pytest.raises(ValueError, match="int64"):
        write_label_map(tmp_path / "mask.nii.gz", wrong)


def test_integer_scaling_stays_int16(tmp_path: Path, ct: Volume):
    image = nifti_image(ct, array=((ct.hu + 1024) // 4).astype(np.uint16))
    image.header.set_slope_inter(4.0, -1024.0)
    volume = read_nifti(saved(image, tmp_path))
    assert volume.hu.dtype == np.int16
    assert volume.hu[BRIGHT] == 1500


def test_fractional_scaling_becomes_float32(tmp_path: Path, ct: Volume):
    image = nifti_image(ct, array=(ct.hu * 4).astype(np.int16))
    image.header.set_slope_inter(0.25, 0.0)
    volume = read_nifti(saved(image, tmp_path))
    assert volume.hu.dtype == np.float32
    assert volume.hu[BRIGHT] == 1500.0


def test_a_scan_clipped_to_a_soft_tissue_window_is_in_hu(tmp_path: Path, ct: Volume):
    image = nifti_image(ct, array=((np.clip(ct.hu, -160, 240) + 160) // 2).astype(np.uint8))
    image.header.set_slope_inter(2.0, -160.0)
    volume = read_nifti(saved(image, tmp_path))
    assert (volume.hu.min(), volume.hu.max()) == (-160, 240)


def test_padding_below_air_becomes_air(tmp_path: Path, ct: Volume):
    array = ct.hu.copy()
    array[:, 0] = -3024
    assert read_nifti(saved(nifti_image(ct, array=array), tmp_path)).hu.min() == -1024


@pytest.mark.parametrize("dtype", [">i2", "<i4", ">f4", "<f8"])
def test_types_and_byte_orders(tmp_path: Path, ct: Volume, dtype: str):
    image = nib.Nifti1Image(ct.hu.T.astype(dtype), np.diag([-1.0, -1, 1, 1]))
    swapped = image.header.as_byteswapped(">" if dtype[0] == ">" else "<")
    swapped.set_data_dtype(np.dtype(dtype))
    image = nib.Nifti1Image(ct.hu.T.astype(dtype), image.affine, header=swapped)
    assert read_nifti(saved(image, tmp_path)).hu[BRIGHT] == BRIGHT_HU


def test_nifti_2_and_a_fourth_axis_of_one(tmp_path: Path, ct: Volume):
    image = nib.Nifti2Image(ct.hu.T[..., None], np.diag([-1.0, -1, 1, 1]))
    assert read_nifti(saved(image, tmp_path)).hu[BRIGHT] == BRIGHT_HU


def test_compression_is_seen_from_the_content(tmp_path: Path, ct: Volume):
    write_volume(tmp_path / "plain.nii", ct)
    (tmp_path / "misnamed.nii.gz").write_bytes((tmp_path / "plain.nii").read_bytes())
    assert_same_patient(read_nifti(tmp_path / "misnamed.nii.gz"), ct)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_voxels_are_refused(tmp_path: Path, ct: Volume, value: float):
    array = ct.hu.astype(np.float32)
    array[1, 1, 1] = value
    assert refusal(saved(nifti_image(ct, array=array), tmp_path)) == Reason.NON_FINITE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda hu: hu + 1024, Reason.NOT_HU),
        (lambda hu: np.clip(hu, 0, 255), Reason.NOT_HU),
        (lambda hu: hu / 1000, Reason.NOT_HU),
        (lambda hu: hu * 1000, Reason.NOT_HU),
        (lambda hu: hu * 0, Reason.EMPTY_VOLUME),
        (lambda hu: np.minimum(hu, -900), Reason.NOT_HU),
    ],
    ids=["plus 1024", "window", "thousandths", "thousandfold", "zeros", "air"],
)
def test_values_that_are_not_hounsfield_units(tmp_path: Path, ct: Volume, change, reason: Reason):
    array = change(ct.hu.astype(np.float32)).astype(np.float32)
    assert refusal(saved(nifti_image(ct, array=array), tmp_path)) == reason


def test_a_time_series_is_refused(tmp_path: Path, ct: Volume):
    image = nib.Nifti1Image(np.stack([ct.hu.T, ct.hu.T], axis=-1), np.eye(4))
    assert refusal(saved(image, tmp_path)) == Reason.FOUR_DIMENSIONAL


def test_color_is_refused(tmp_path: Path):
    rgb = np.zeros((9, 7, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert refusal(saved(nib.Nifti1Image(rgb, np.eye(4)), tmp_path)) == Reason.COLOUR


def test_one_slice_is_refused(tmp_path: Path, ct: Volume):
    image = nifti_image(ct, array=ct.hu[3:4])
    assert refusal(saved(image, tmp_path)) == Reason.TOO_FEW_SLICES


def test_shear_is_refused(tmp_path: Path, ct: Volume):
    affine = ct.geometry.affine_lps.copy()
    affine[1, 2] += 0.2
    image = nifti_image(ct, affine_lps=affine)
    assert refusal(saved(image, tmp_path)) == Reason.SHEARED


def test_no_orientation_is_refused(tmp_path: Path, ct: Volume):
    image = nifti_image(ct)
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    assert refusal(saved(image, tmp_path)) == Reason.NO_ORIENTATION


def test_forms_that_disagree_are_refused(tmp_path: Path, ct: Volume):
    image = nifti_image(ct)
    image.set_qform(np.diag([-1, 1, 1, 1]) @ image.affine, code=1)
    assert refusal(saved(image, tmp_path)) == Reason.ORIENTATION_CONFLICT


def test_two_voxel_sizes_are_refused(tmp_path: Path, ct: Volume):
    image = nifti_image(ct)
    image.set_qform(None, code=0)
    image.header["pixdim"][1:4] = 1.0
    assert refusal(saved(image, tmp_path)) == Reason.ORIENTATION_CONFLICT


@pytest.mark.parametrize("factor", [0.001, 1000.0], ids=["meters", "micrometers"])
def test_voxel_sizes_in_other_units_are_refused(tmp_path: Path, ct: Volume, factor: float):
    affine = np.diag([factor, factor, factor, 1.0]) @ ct.geometry.affine_lps
    image = nifti_image(ct, affine_lps=affine)
    assert refusal(saved(image, tmp_path)) == Reason.NO_SPACING


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_files_cut_off_are_refused(tmp_path: Path, ct: Volume, name: str):
    content = saved(nifti_image(ct), tmp_path, name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 6 // 10])
    assert refusal(tmp_path / name) == Reason.TRUNCATED


def test_a_flipped_bit_in_a_compressed_file_is_noticed(tmp_path: Path, ct: Volume):
    plain = saved(nifti_image(ct), tmp_path, "ct.nii").read_bytes()
    packed = bytearray(gzip.compress(plain, compresslevel=0))
    packed[-40] ^= 1
    (tmp_path / "ct.nii.gz").write_bytes(packed)
    assert refusal(tmp_path / "ct.nii.gz") == Reason.UNREADABLE


def test_a_wrong_checksum_is_noticed_where_more_than_the_voxels_follows(tmp_path: Path, ct: Volume):
    """As when a block of a copy stands twice: the voxels are complete, and some are wrong."""
    plain = saved(nifti_image(ct), tmp_path, "ct.nii").read_bytes()
    packed = bytearray(gzip.compress(plain + bytes(5_000_000)))
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(packed)
    np.testing.assert_array_equal(read_nifti(path).hu, ct.hu)
    packed[-8] ^= 1
    path.write_bytes(packed)
    assert refusal(path) == Reason.UNREADABLE


@pytest.mark.parametrize("rest", [b"g", bytes(10) + b"x"], ids=["a byte", "zeros and a byte"])
def test_what_is_no_end_of_a_gzip_stream_is_damage(tmp_path: Path, ct: Volume, rest: bytes):
    packed = saved(nifti_image(ct), tmp_path).read_bytes()
    (tmp_path / "ct.nii.gz").write_bytes(packed + rest)
    # A single byte may also be how a further member begins.
    assert refusal(tmp_path / "ct.nii.gz") in (Reason.UNREADABLE, Reason.TRUNCATED)


def test_zeros_and_further_members_after_the_voxels_do_no_harm(tmp_path: Path, ct: Volume):
    packed = saved(nifti_image(ct), tmp_path).read_bytes()
    for rest in (bytes(512), gzip.compress(b"a note")):
        (tmp_path / "ct.nii.gz").write_bytes(packed + rest)
        np.testing.assert_array_equal(read_nifti(tmp_path / "ct.nii.gz").hu, ct.hu)


def test_a_gzip_header_that_is_too_long_is_refused(tmp_path: Path, ct: Volume):
    packed = bytearray(saved(nifti_image(ct), tmp_path).read_bytes())
    assert packed[3] & 8 == 0 or packed[3] == 8
    start = 10 if packed[3] == 0 else 10 + packed[10:].index(0) + 1
    header = packed[:3] + bytes([16]) + packed[4:10] + b"c" * 700_000 + bytes(1)
    (tmp_path / "ct.nii.gz").write_bytes(header + packed[start:])
    assert refusal(tmp_path / "ct.nii.gz") == Reason.UNREADABLE


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_a_forged_size_takes_no_memory(tmp_path: Path, ct: Volume, name: str):
    image = nifti_image(ct)
    content = bytearray(saved(image, tmp_path, "plain.nii").read_bytes())
    content[42:48] = np.array([32000, 32000, 32000], dtype="<i2").tobytes()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert refusal(path) == Reason.TOO_LARGE


def test_a_header_that_promises_more_than_deflate_can_hold(tmp_path: Path, ct: Volume):
    content = bytearray(saved(nifti_image(ct), tmp_path, "plain.nii").read_bytes())
    content[42:48] = np.array([1000, 1000, 1000], dtype="<i2").tobytes()
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(content))
    assert refusal(tmp_path / "ct.nii.gz") == Reason.TRUNCATED


def test_a_header_without_its_image_is_refused(tmp_path: Path, ct: Volume):
    nib.save(nib.Nifti1Pair(ct.hu.T, np.eye(4)), tmp_path / "ct.hdr")
    assert refusal(tmp_path / "ct.hdr") == Reason.NO_PIXELS


@pytest.mark.parametrize("content", [b"", b"\x5c\x02", b"no image at all" * 50])
def test_junk_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "ct.nii").write_bytes(content)
    assert refusal(tmp_path / "ct.nii") == Reason.NOT_AN_IMAGE


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 351), value=st.integers(0, 255))
def test_no_header_byte_makes_it_crash(tmp_path_factory, place: int, value: int):
    path = tmp_path_factory.mktemp("fuzz") / "ct.nii"
    content = bytearray(nifti_image(a_ct()).to_bytes())
    content[place] = value
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        read_volume(path)
