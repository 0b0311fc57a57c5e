"""The HTML and PDF reports with no, one and forty lesions, and what must not stand in them."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_cases import DICOM, FINDINGS, GEOMETRY, NIFTI, RECORD, SEGMENTED, lesion

from livertumor_cli.report.figures import lesion_file
from livertumor_cli.report.html import html_report
from livertumor_cli.report.json_report import build_report
from livertumor_cli.report.pdf import pdf_report
from livertumor_cli.report.run_record import SegmentsBy
from livertumor_cli.report.words import (
    SEGMENT_NOTES,
    TABLE_COLUMNS,
    lesion_facts,
    lesion_table,
    method_rows,
)
from livertumor_cli.volume import Source

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da63f8ffff3f"
    "0005fe02fe0def46b80000000049454e44ae426082"
)
MANY = replace(FINDINGS, lesions=tuple(lesion(number) for number in range(1, 41)))
NONE = replace(FINDINGS, lesions=(), tumor_volume_ml=0.0)
FIGURES = {
    **{f"overview_{name}.png": PNG for name in ("axial", "coronal", "sagittal")},
    **{f"projection_{name}.png": PNG for name in ("front", "below")},
    **{lesion_file(number): PNG for number in range(1, 41)},
}


def report_of(findings=FINDINGS, source=NIFTI, **changes):
    record = replace(RECORD, **changes)
    return build_report(findings, source=source, geometry=GEOMETRY, record=record)


class Structure(HTMLParser):
    """Counts tags and checks that they are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.counts, self.sources = [], {}, []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(("findings", "count"), [(NONE, 0), (FINDINGS, 1), (MANY, 40)])
def test_html_is_whole_and_needs_no_other_file(findings, count):
    text = html_report(report_of(findings), FIGURES)
    page = Structure(text)
    assert page.counts["img"] == 5 + count
    assert page.counts.get("section", 0) == count
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in page.sources)
    assert "<script" not in text
    assert "http" not in text
    assert ("No tumor was found." in text) == (count == 0)
    assert text.count("Research use only, not a medical device.") == 2
    for words in ("CC-BY-4.0", "openvino 2026.4.1", "The liver touches the edge", "0" * 64):
        assert words in text
    assert "None" not in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)


def test_lesions_without_a_picture_are_in_the_table_only():
    hidden = {lesion_file(number) for number in range(31, 41)}
    figures = {name: png for name, png in FIGURES.items() if name not in hidden}
    text = html_report(report_of(MANY), figures)
    page = Structure(text)
    assert page.counts["section"] == 30
    assert page.sources.count("#lesion-30") == 1
    assert "#lesion-31" not in page.sources
    assert "Only the 30 largest of 40 lesions have a picture." in text
    assert "<td>40</td>" in text
    assert pdf_report(report_of(MANY), figures).startswith(b"%PDF-")


def test_names_are_escaped():
    source = Source(Path("<b>&.nii"), "nifti")
    text = html_report(report_of(source=source, flags=("A < B & C",)), FIGURES)
    assert "&lt;b&gt;&amp;.nii" in text
    assert "A &lt; B &amp; C" in text


@pytest.mark.parametrize("source", [NIFTI, DICOM])
def test_nothing_names_the_patient(source):
    report = report_of(source=source)
    for content in (html_report(report, FIGURES).encode(), pdf_report(report, FIGURES)):
        assert b"MUELLER" not in content
        assert b"archive" not in content


def facts_of(entry, segments_by="network"):
    return dict(lesion_facts(entry, segments_by=segments_by))


def test_rows_and_facts():
    columns, (row,) = lesion_table(report_of())
    assert columns == tuple(title for title in TABLE_COLUMNS if title != "Segment")
    assert len(row) == len(columns)
    assert row[:4] == ("1", "14.1 × 7.0", "20.0", "1.24 (1.10 to 1.40)")
    assert row[-1] == "at scan border, borderline"
    facts = facts_of(report_of()["lesions"][0])
    assert facts["Capsule"] == "12.3 mm away"
    assert "Nearest vessel" not in facts
    assert facts["Segments (approximate)"] == "VIII (75 %), V (25 %)"
    assert "Volume of single runs" not in facts


@pytest.mark.parametrize(("z_mm", "text"), [(-339.24, "I 339.2 mm"), (12.0, "S 12.0 mm")])
def test_slices_are_placed_as_viewers_do(z_mm, text):
    entry = {**report_of()["lesions"][0], "longest_axis_lps_mm": [[0, 0, z_mm], [9, 0, z_mm]]}
    assert facts_of(entry)["Slice"] == f"{entry['slice_index']}, at {text}"


def test_a_trace_of_a_segment_is_not_named():
    entry = {**report_of()["lesions"][0], "couinaud_shares": {"8": 0.97, "7": 0.027, "1": 0.003}}
    assert facts_of(entry)["Segments (approximate)"] == "VIII (97 %), VII (3 %)"


def test_segments_are_called_approximate():
    columns, (row,) = lesion_table(report_of(SEGMENTED))
    assert columns == TABLE_COLUMNS
    assert row[columns.index("Segment")] == "VIII/V"
    text = html_report(report_of(SEGMENTED), FIGURES)
    assert "Couinaud segments (approximate)" in text
    assert SEGMENT_NOTES["network"] in text
    assert "<td>Volume ml</td><td>50</td><td>100</td>" in text
    assert "Couinaud segments" not in html_report(report_of(), FIGURES)
    assert "approximate" in dict(method_rows(report_of(SEGMENTED)))["Couinaud segments"]
    assert "Couinaud segments" not in dict(method_rows(report_of()))


def test_segments_of_a_file_are_not_said_to_be_a_networks():
    report = report_of(SEGMENTED, segments_by=SegmentsBy.FILE)
    text = html_report(report, FIGURES)
    assert "Couinaud segments (from a file)" in text
    assert "network tells" not in text
    assert "(approximate)" not in text
    assert SEGMENT_NOTES["file"].split(",")[0] in text
    assert facts_of(report["lesions"][0], "file")["Segments"] == "VIII (75 %), V (25 %)"
    assert pdf_report(report, FIGURES).startswith(b"%PDF-")


def test_touching_is_said():
    surroundings = replace(lesion().surroundings, capsule_distance_mm=0.0, vessel_distance_mm=0.0)
    touching = replace(lesion(), surroundings=replace(surroundings, vessel_contact_mm2=12.3))
    (entry,) = report_of(replace(FINDINGS, lesions=(touching,)))["lesions"]
    facts = facts_of(entry)
    assert (facts["Capsule"], facts["Nearest vessel"]) == ("touches", "touches, 12 mm²")


def test_pages_say_once_that_vessels_were_not_labeled():
    findings = replace(FINDINGS, vessel_volume_ml=None)
    columns, _ = lesion_table(report_of(findings))
    assert "To vessel mm" not in columns
    assert html_report(report_of(findings), FIGURES).count("not labeled") == 1
    assert "not labeled" not in html_report(report_of(), FIGURES)
    assert pdf_report(report_of(findings), FIGURES).startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("findings", "pages"),
    [(NONE, (1, 3)), (FINDINGS, (2, 4)), (SEGMENTED, (2, 4)), (MANY, (11, 25))],
)
def test_pdf_has_its_pages(findings, pages):
    content = pdf_report(report_of(findings), FIGURES)
    assert content.startswith(b"%PDF-")
    assert pages[0] <= len(re.findall(rb"/Type /Page\b", content)) <= pages[1]


def test_equal_reports_make_equal_files():
    assert pdf_report(report_of(), FIGURES) == pdf_report(report_of(), FIGURES)


def test_letters_beyond_the_fonts_end_no_run():
    report = report_of(source=Source(Path("肝臓_Łódź.nii.gz"), "nifti"), flags=("≥ <5> & µ",))
    assert pdf_report(report, FIGURES).startswith(b"%PDF-")
    assert "肝臓_Łódź.nii.gz" in html_report(report, FIGURES)
