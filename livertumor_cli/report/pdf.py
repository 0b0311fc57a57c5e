"""The report as A4 pages."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from reportlab import rl_config
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
)

from livertumor_cli.report import words
from livertumor_cli.report.figures import lesion_file
from livertumor_cli.report.html import overview_names, pictured
from livertumor_cli.report.tables import SEGMENT_HEADINGS, segment_rows, summary_rows

# Pictures as they are: as letters, which only ancient printers need, they take seconds to write.
rl_config.useA85 = 0

_MARGIN = 14 * mm
_WIDTH = A4[0] - 2 * _MARGIN - 12  # the frame pads each side by 6 points
_TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=9, leading=11.5)
_SMALL = ParagraphStyle(
    "small", _TEXT, fontSize=7.5, leading=9.5, textColor=colors.Color(0.3, 0.35, 0.4)
)
_BOLD = ParagraphStyle("bold", _TEXT, fontName="Helvetica-Bold")
_TITLE = ParagraphStyle("title", _BOLD, fontSize=16, leading=20)
_HEADING = ParagraphStyle("heading", _BOLD, fontSize=11.5, leading=14, spaceBefore=9, spaceAfter=4)
_SIZE = ParagraphStyle("size", _BOLD, fontSize=14, leading=18)
_CELL = ParagraphStyle("cell", _TEXT, fontSize=7.5, leading=9)
_HEAD = ParagraphStyle("head", _CELL, fontName="Helvetica-Bold")
_WIDTHS_MM = (11, 26, 12, 33, 10, 9, 12, 15, 14, 16, 11, 24)
_COLUMNS_MM = dict(zip(words.TABLE_COLUMNS, _WIDTHS_MM, strict=True))
_PLAIN = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0)]
_TIGHT = [*_PLAIN, ("TOPPADDING", (0, 0), (-1, -1), 0.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 0.5)]


def pdf_report(report: Mapping[str, Any], figures: Mapping[str, bytes]) -> bytes:
    """The pages, with the text of the HTML report.

    Args:
        report: From `build_report`.
        figures: From `case_figures`.
    """
    stream = io.BytesIO()
    document = SimpleDocTemplate(
        stream,
        pagesize=A4,
        title="Liver and liver tumors in CT",
        author="livertumor",
        # Without it the file holds the time, and equal runs differ.
        invariant=1,
        **dict.fromkeys(("leftMargin", "rightMargin", "topMargin", "bottomMargin"), _MARGIN),
    )
    story = [
        *_front(report),
        *_lesions(report),
        *_segments(report),
        *_pictures(report, figures),
        *_back(report),
    ]

    def foot(canvas: Canvas, _document: SimpleDocTemplate) -> None:
        canvas.setFont("Helvetica", 7.5)
        canvas.drawString(_MARGIN, 8 * mm, report["disclaimer"])
        canvas.drawRightString(A4[0] - _MARGIN, 8 * mm, str(canvas.getPageNumber()))

    document.build(story, onFirstPage=foot, onLaterPages=foot)
    return stream.getvalue()


def _paragraph(text: str, style: ParagraphStyle = _TEXT) -> Paragraph:
    """Text as it stands; letters beyond the fonts that every reader has become question marks."""
    known = text.encode("cp1252", errors="replace").decode("cp1252")
    return Paragraph(escape(known), style)


def _rows(
    rows: Sequence[tuple[str, str]], widths_mm: tuple[float, float], style: ParagraphStyle
) -> Table:
    cells = [[_paragraph(name, style), _paragraph(text, style)] for name, text in rows]
    return Table(cells, colWidths=[width * mm for width in widths_mm], style=_TIGHT, hAlign="LEFT")


def _front(report: Mapping[str, Any]) -> list[Flowable]:
    origin = words.origin_rows(report)
    flags = report["flags"] or ("Nothing unusual was noticed. Look at every picture all the same.",)
    summary = [_paragraph("Summary", _HEADING), _rows(summary_rows(report), (64, 24), _TEXT)]
    warnings = [_paragraph("Before using these numbers", _HEADING)]
    warnings += [_paragraph(f"• {flag}") for flag in flags]
    return [
        _paragraph("Liver and liver tumors in CT", _TITLE),
        _paragraph(" · ".join(f"{name} {text}" for name, text in origin[:2]), _SMALL),
        _paragraph(f"{report['disclaimer']} Not for diagnosis or treatment decisions.", _BOLD),
        Table([[summary, warnings]], colWidths=[0.5 * _WIDTH] * 2, style=_PLAIN),
    ]


def _lesions(report: Mapping[str, Any]) -> list[Flowable]:
    heading = _paragraph("Lesions", _HEADING)
    columns, rows = words.lesion_table(report)
    if not rows:
        sentence = "No tumor was found. That a program finds none does not mean that there is none."
        return [heading, _paragraph(sentence)]
    widths = [float(_COLUMNS_MM[title]) for title in columns]
    narrowed = min(1.0, _WIDTH / mm / sum(widths))
    return [heading, _grid([columns, *rows], [narrowed * width for width in widths])]


def _segments(report: Mapping[str, Any]) -> list[Flowable]:
    rows = segment_rows(report)
    if not rows:
        return []
    table = _grid(rows, [24.0] + [15.0] * (len(rows[0]) - 1))
    teller = report["segments_by"]
    heading = _paragraph(SEGMENT_HEADINGS[teller], _HEADING)
    return [KeepTogether([heading, table, _paragraph(words.SEGMENT_NOTES[teller], _SMALL)])]


def _grid(rows: Sequence[Sequence[str]], widths_mm: Sequence[float]) -> Table:
    """A ruled table whose first row is its head, repeated on every page."""
    head, *others = rows
    cells = [[_paragraph(title, _HEAD) for title in head]]
    cells += [[_paragraph(text, _CELL) for text in row] for row in others]
    style = [
        *_TIGHT,
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.lightgrey),
        ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ]
    widths = [width * mm for width in widths_mm]
    return Table(cells, colWidths=widths, style=style, repeatRows=1, hAlign="LEFT")


def _picture(png: bytes, *, height_mm: float = 0.0, width_mm: float = 0.0) -> Image:
    image = Image(io.BytesIO(png))
    ratio = image.imageWidth / image.imageHeight
    image.drawHeight = height_mm * mm or width_mm * mm / ratio
    image.drawWidth = image.drawHeight * ratio
    return image


def _pictures(report: Mapping[str, Any], figures: Mapping[str, bytes]) -> list[Flowable]:
    images = [_picture(figures[name], height_mm=42) for name, _ in overview_names(figures)]
    overview = [_paragraph("Overview", _HEADING), *_in_lines(images)]
    story: list[Flowable] = [KeepTogether([*overview, _paragraph(words.ORIENTATION, _SMALL)])]
    shown = pictured(report, figures)
    caption = words.lesion_caption(len(shown), count=len(report["lesions"]))
    for number, lesion in enumerate(shown):
        card = [Spacer(1, 4), _card(report, lesion, figures)]
        if number == 0:
            head = _paragraph("Each lesion in its slice", _HEADING)
            card = [head, _paragraph(caption, _SMALL), *card]
        story.append(KeepTogether(card))
    return story


def _in_lines(images: Sequence[Image]) -> list[Table]:
    """Pictures side by side, as many in a line as fit."""
    lines: list[list[Image]] = [[]]
    for image in images:
        width = sum(part.drawWidth + 2 * mm for part in lines[-1])
        if lines[-1] and width + image.drawWidth > _WIDTH:
            lines.append([])
        lines[-1].append(image)
    widths = [[part.drawWidth + 2 * mm for part in line] for line in lines]
    return [
        Table([line], colWidths=width, style=_TIGHT, hAlign="LEFT")
        for line, width in zip(lines, widths, strict=True)
    ]


def _card(
    report: Mapping[str, Any], lesion: Mapping[str, Any], figures: Mapping[str, bytes]
) -> Table:
    flags = ", ".join(words.FLAG_WORDS[flag] for flag in lesion["flags"])
    texts = [
        _paragraph(f"Lesion {lesion['id']}", _BOLD),
        _paragraph(words.diameters(lesion), _SIZE),
        *([_paragraph(flags, _BOLD)] if flags else []),
        _rows(words.lesion_facts(lesion, segments_by=report["segments_by"]), (25, 37), _CELL),
    ]
    picture = _picture(figures[lesion_file(lesion["id"])], width_mm=116)
    return Table([[picture, texts]], colWidths=[118 * mm, _WIDTH - 118 * mm], style=_PLAIN)


def _back(report: Mapping[str, Any]) -> list[Flowable]:
    return [
        _paragraph("Method", _HEADING),
        _rows(words.method_rows(report), (42, 134), _CELL),
        _paragraph("Scan, model and license", _HEADING),
        _rows(words.origin_rows(report), (42, 134), _CELL),
    ]
