"""The files for readers: one HTML page, its pictures, and A4 pages if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livertumor_cli.findings import CaseFindings
from livertumor_cli.volume import LabelMap, Volume

FIGURES = "figures"
HTML = "report.html"
PDF = "report.pdf"


def reader_files(
    report: Mapping[str, Any],
    *,
    volume: Volume,
    masks: tuple[LabelMap, LabelMap],
    findings: CaseFindings,
    pdf: bool,
) -> dict[str, bytes]:
    """Content by name inside the folder of results.

    Args:
        report: From `build_report`.
        volume: The scan.
        masks: `anatomy.Label` values, and lesion numbers on the same grid.
        findings: Their measurements.
        pdf: Whether the A4 pages are made too.
    """
    # Here, as their libraries take their time to import: it passes beside the writing of masks.
    from livertumor_cli.report.figures import case_figures
    from livertumor_cli.report.html import html_report

    mask, lesions = masks
    figures = case_figures(volume, mask=mask, lesions=lesions, findings=findings)
    files = {HTML: html_report(report, figures).encode("utf-8")}
    files |= {f"{FIGURES}/{name}": content for name, content in figures.items()}
    if pdf:
        # Its library takes its time to import, and most runs do without.
        from livertumor_cli.report.pdf import pdf_report

        files[PDF] = pdf_report(report, figures)
    return files
