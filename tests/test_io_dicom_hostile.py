"""Files made to fill memory, to lead astray or to hang end in a refusal."""

from __future__ import annotations

import contextlib
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from scans import a_ct, datasets, nifti_image, write_series

from livertumor_cli.cli.app import run
from livertumor_cli.errors import InputError, Reason
from livertumor_cli.io import dicom_file
from livertumor_cli.io.codestream import stated_size
from livertumor_cli.io.dicom_ct import write_datasets
from livertumor_cli.io.formats import read_volume
from livertumor_cli.io.series_list import list_series
from livertumor_cli.volume import Volume

UNREAD = {Reason.UNREADABLE, Reason.NOT_CT, Reason.NO_PIXELS, Reason.TRUNCATED}


def refusal(path: Path) -> InputError:
    """The error that refuses a path, within some seconds."""
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert time.monotonic() - start < 20
    return caught.value


def deflated(content: bytes) -> bytes:
    """A DICOM file whose data set inflates to some content."""
    syntax = b"1.2.840.10008.1.2.1.99"
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax)) + syntax
    length = b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta))
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return bytes(128) + b"DICM" + length + meta + packer.compress(content) + packer.flush()


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(dicom_file, "_RATIO_FREE_BYTES", 2**20)
    (tmp_path / "bomb.dcm").write_bytes(deflated(bytes(2**24)))
    assert refusal(tmp_path / "bomb.dcm").reason == Reason.TOO_LARGE


def test_a_file_larger_than_any_scan(tmp_path: Path):
    with (tmp_path / "huge.dcm").open("wb") as stream:
        stream.write(explicit(element(0x00080060, b"UT", b"CT")))
        stream.truncate(2**32 + 1)  # sparse: it takes no space
    assert refusal(tmp_path).reason == Reason.TOO_LARGE


def test_a_deflated_file_that_is_cut_off(tmp_path: Path):
    (tmp_path / "cut.dcm").write_bytes(deflated(bytes(range(256)) * 40)[:-20])
    assert refusal(tmp_path / "cut.dcm").reason in UNREAD


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, size) + value


def explicit(content: bytes) -> bytes:
    syntax = b"1.2.840.10008.1.2.1\x00"
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax)) + syntax
    length = b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta))
    return bytes(128) + b"DICM" + length + meta + content


def test_sequences_nested_without_end(tmp_path: Path):
    opening = element(0x00081140, b"SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    for depth in (50, 5000, 100_000):
        (tmp_path / "deep.dcm").write_bytes(explicit(opening * depth))
        assert refusal(tmp_path / "deep.dcm").reason in UNREAD


def test_a_nested_sequence_with_lengths(tmp_path: Path):
    content = b""
    for _ in range(3000):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content)) + content
        content = element(0x52009229, b"SQ", item)
    (tmp_path / "deep.dcm").write_bytes(explicit(content))
    assert refusal(tmp_path / "deep.dcm").reason in UNREAD


@pytest.mark.parametrize("vr", [b"OB", b"UN", b"UT", b"SQ"])
@pytest.mark.parametrize("length", [0xFFFFFFFE, 0x7FFFFFFF, 0xFFFFFFFF])
def test_lengths_beyond_the_file(tmp_path: Path, vr: bytes, length: int):
    for tag in (0x00080008, 0x00080060, 0x00091001, 0x52009229, 0x7FE00010):
        (tmp_path / "long.dcm").write_bytes(explicit(element(tag, vr, b"CT", length)))
        reason = refusal(tmp_path / "long.dcm").reason
        assert reason in UNREAD


def _j2k(columns: int, rows: int) -> bytes:
    siz = struct.pack(">HIIIIIIIIH", 0, columns, rows, 0, 0, columns, rows, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + struct.pack(">H", 2 + len(siz) + 3) + siz + b"\x0f\x01\x01"


def _jpeg(marker: int, columns: int, rows: int) -> bytes:
    frame = struct.pack(">BHHB", 12, rows, columns, 1) + b"\x01\x11\x00"
    return b"\xff\xd8\xff\xe0\x00\x04ab\xff" + bytes([marker]) + struct.pack(">H", 11) + frame


@pytest.mark.parametrize(
    ("syntax", "content"),
    [
        ("1.2.840.10008.1.2.4.90", _j2k(60000, 60000)),
        ("1.2.840.10008.1.2.4.70", _jpeg(0xC3, 65535, 65535)),
        ("1.2.840.10008.1.2.4.80", _jpeg(0xF7, 65535, 65535)),
        ("1.2.840.10008.1.2.4.51", _jpeg(0xC1, 65535, 65535)),
    ],
)
def test_a_code_stream_larger_than_its_header(tmp_path: Path, ct: Volume, syntax: str, content):
    slices = datasets(ct)
    slices[1].PixelData = encapsulate([content])
    slices[1]["PixelData"].VR = "OB"
    slices[1].file_meta.TransferSyntaxUID = syntax
    write_datasets(tmp_path, slices)
    assert refusal(tmp_path).reason == Reason.UNREADABLE


def test_stated_sizes():
    assert stated_size(_j2k(7, 9)) == (9, 7)
    assert stated_size(_jpeg(0xC3, 7, 9)) == (9, 7)
    assert stated_size(_jpeg(0xF7, 7, 9)[:12]) is None
    assert stated_size(b"\xff\xd8" + b"\xff" * 30) is None
    assert stated_size(b"") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": 65000, "Rows": 4000, "Columns": 4000},
        {"NumberOfFrames": 10_000_000},
        {"NumberOfFrames": -3},
        {"Rows": 0},
        {"BitsAllocated": 64},
        {"BitsAllocated": 0},
        {"BitsStored": 40},
        {"PixelRepresentation": 7},
        {"RescaleSlope": "1e300"},
        {"RescaleSlope": "0"},
        {"RescaleIntercept": "-1e30"},
        {"PixelSpacing": ["0", "0"]},
        {"PixelSpacing": ["1e-30", "1"]},
        {"PixelSpacing": ["-0.7", "0.7"]},
        {"ImageOrientationPatient": ["0"] * 6},
        {"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]},
        {"ImagePositionPatient": ["1e300", "0", "0"]},
    ],
    ids=str,
)
def test_absurd_numbers(tmp_path: Path, ct: Volume, changes: dict[str, object]):
    write_datasets(tmp_path, datasets(ct, **changes))
    refusal(tmp_path)


@pytest.mark.parametrize("end", range(134, 1260, 25))
def test_a_last_file_cut_off_anywhere_is_missed(tmp_path: Path, ct: Volume, end: int):
    paths = write_series(tmp_path, ct)
    content = paths[-1].read_bytes()
    assert len(content) > 1260
    paths[-1].write_bytes(content[:end])
    assert refusal(tmp_path).reason in UNREAD


@pytest.mark.parametrize("name", ["IM0007", "x.dcm", "1.2.3.4", "IM.7"])
@pytest.mark.parametrize("content", [b"", bytes(5000)], ids=["empty", "zeros"])
def test_an_empty_file_among_slices_is_missed(tmp_path: Path, ct: Volume, name: str, content):
    write_series(tmp_path, ct)
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path).reason == Reason.TRUNCATED


def test_empty_files_of_other_names_are_passed_over(tmp_path: Path, ct: Volume):
    write_series(tmp_path, ct)
    for name in ("DONE", "_SUCCESS", ".complete", "log.txt", "._slice0001.dcm"):
        (tmp_path / name).touch()
    (tmp_path / "README").write_text("no slice", encoding="utf-8")
    (tmp_path / "notes 2024").write_text("no slice", encoding="utf-8")
    assert read_volume(tmp_path).hu.shape == ct.hu.shape


def test_a_dead_link_among_slices_is_missed(tmp_path: Path, ct: Volume):
    paths = write_series(tmp_path, ct)
    paths[-1].unlink()
    paths[-1].symlink_to(tmp_path / "gone")
    assert refusal(tmp_path).reason == Reason.UNREADABLE
    assert list_series(tmp_path).damaged


def test_links_in_a_circle_and_pipes_hold_nothing_up(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "ct", ct)
    (tmp_path / "ct" / "again").symlink_to(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "ct" / "pipe")
    assert read_volume(tmp_path).hu.shape == ct.hu.shape


def _names(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as packed:
            for name in names:
                packed.writestr(zipfile.ZipInfo(name), b"content")

    return write


def _link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        info = zipfile.ZipInfo("slice.dcm")
        info.external_attr = 0o120777 << 16
        packed.writestr(info, "/etc/hostname")


def _nested(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        inner = path.with_name("inner")
        _names("a.dcm")(inner)
        for number in range(3):
            packed.write(inner, f"{number}.zip")


def _damaged(method: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as packed:
            packed.writestr("a.dcm", os.urandom(3000))
        content = bytearray(path.read_bytes())
        content[60:80] = bytes(20)
        path.write_bytes(content)

    return write


def _lying(path: Path) -> None:
    """The directory states ten bytes, the member is larger."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.dcm", bytes(100_000))
    content = path.read_bytes().replace(struct.pack("<I", 100_000), struct.pack("<I", 10))
    path.write_bytes(content)


@pytest.mark.parametrize(
    "write",
    [
        _names(),
        _names(""),
        _names("/"),
        _names("\\"),
        _names(".", "..", "a/../../b"),
        _names("//server/share/a.dcm"),
        _names("c:evil.dcm"),
        _names("a" * 300),
        _names("con", "nul.dcm"),
        _link,
        _nested,
        _damaged(zipfile.ZIP_STORED),
        _damaged(zipfile.ZIP_DEFLATED),
        _damaged(zipfile.ZIP_BZIP2),
        _damaged(zipfile.ZIP_LZMA),
        _lying,
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_zips_that_mislead(tmp_path: Path, write: Callable[[Path], None]):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "study.zip")
    refusal(tmp_path / "in" / "study.zip")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_a_zip_of_one_nifti_is_read_as_that(tmp_path: Path, ct: Volume):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as packed:
        packed.writestr("study/scan.nii", nifti_image(ct).to_bytes())
        packed.writestr("study/readme.txt", "a scan")
    volume = read_volume(tmp_path / "scan.zip")
    assert volume.geometry.is_same_grid(ct.geometry)
    assert (volume.source.kind, volume.source.path) == ("zip", tmp_path / "scan.zip")
    with zipfile.ZipFile(tmp_path / "scan.zip", "a") as packed:
        packed.writestr("study/other.nii", nifti_image(ct).to_bytes())
    assert refusal(tmp_path / "scan.zip").reason == Reason.NOT_AN_IMAGE


@settings(max_examples=80, deadline=None)
@given(content=st.binary(max_size=600), prefixed=st.booleans())
def test_any_bytes_end_in_a_refusal(tmp_path_factory, content: bytes, prefixed: bool):
    path = tmp_path_factory.mktemp("bytes") / "any.dcm"
    path.write_bytes(explicit(content) if prefixed else b"\x08\x00\x05\x00" + content)
    refusal(path)


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(132, 1500), st.integers(0, 255)), min_size=2, max_size=9)
)
def test_several_wrong_bytes_of_a_header_do_not_make_it_crash(tmp_path_factory, places):
    folder = tmp_path_factory.mktemp("fuzz")
    path = write_series(folder, a_ct())[1]
    content = bytearray(path.read_bytes())
    for place, value in places:
        content[min(place, len(content) - 1)] = value
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        read_volume(folder)
    list_series(folder)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.1.99"]
)
@pytest.mark.parametrize("kept", [0.5, 0.8, 0.99])
def test_compressed_files_that_are_cut_off(tmp_path: Path, ct: Volume, syntax: str, kept: float):
    slices = datasets(ct)
    for dataset in slices:
        if syntax.endswith("99"):
            dataset.file_meta.TransferSyntaxUID = syntax
        else:
            dataset.compress(syntax, generate_instance_uid=False)
    last = write_datasets(tmp_path, slices)[-1]
    last.write_bytes(last.read_bytes()[: int(last.stat().st_size * kept)])
    assert refusal(tmp_path).reason in (Reason.TRUNCATED, Reason.NO_PIXELS)


def test_a_thousand_folders_in_one_another(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "ct", ct)
    before, depth = Path.cwd(), 1500
    os.chdir(tmp_path)
    try:
        for _ in range(depth):
            Path("d").mkdir()
            os.chdir("d")
        assert read_volume(tmp_path).hu.shape == ct.hu.shape
    finally:
        # No function that removes folders goes that deep.
        for _ in range(depth):
            os.chdir("..")
            Path("d").rmdir()
        os.chdir(before)


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_a_name_that_is_no_text(tmp_path: Path, ct: Volume, capfd):
    write_series(tmp_path, ct)
    path = os.fsencode(tmp_path) + b"/\xff\xfe.dcm"
    with open(path, "wb") as stream:  # noqa: PTH123 - a name that Path cannot hold as text
        stream.write(b"DICM")
    assert run(["inspect", str(tmp_path), "--json"]) == 3
    assert run(["series", str(tmp_path)]) == 0
    assert "Traceback" not in capfd.readouterr().err
