"""`livertumor doctor`: can this machine do the job, and what has to be repaired?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from livertumor_cli.cli.console import write_json
from livertumor_cli.cli.rows import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from livertumor_cli.cli.diagnosis import Diagnosis, EngineReport


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def doctor(as_json: bool) -> int:
    """Check the installation: engines, devices, weights.

    Every engine runs a tiny network, and every weight file is compared with its SHA-256. Nothing
    is changed, and nothing leaves the machine.

    Leaves with 0 when a scan can be segmented here, 5 when no engine works, 4 when the default
    recipe cannot be used.

    Example: livertumor doctor
    """
    from livertumor_cli.cli.diagnosis import diagnose

    diagnosis = diagnose()
    if as_json:
        write_json(diagnosis.to_document())
    else:
        write_rows(_rows(diagnosis))
    return diagnosis.exit_code


def _rows(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    yield "Python", diagnosis.python
    yield "System", diagnosis.system
    yield "Processor", _processor_words(diagnosis)
    if diagnosis.memory_bytes is not None:
        yield "Memory", f"{diagnosis.memory_bytes / 1e9:.1f} GB"
    installed = (f"{name} {version}" for name, version in diagnosis.packages.items() if version)
    yield "Packages", ", ".join(installed)
    label = "Engines"
    for engine in diagnosis.engines:
        yield label, _engine_words(engine)
        label = ""
    label = "Recipes"
    for recipe in diagnosis.recipes:
        mark = " (default)" if recipe.is_default else ""
        yield label, f"{_mark(recipe.works)} {recipe.name}{mark} in {recipe.folder}"
        label = ""
    folder = diagnosis.folder
    yield (
        "Folder",
        (f"{_mark(folder.is_writable)} {folder.path}, {folder.free_bytes / 1e9:.1f} GB free"),
    )
    yield "", ""
    for problem in diagnosis.problems:
        yield "Problem", problem.what
        yield "  Repair", problem.cure
    verdict = "can" if diagnosis.exit_code == 0 else "CANNOT"
    yield "Result", f"livertumor {verdict} segment a scan on this machine."


def _processor_words(diagnosis: Diagnosis) -> str:
    cores, threads = diagnosis.physical_cores, diagnosis.logical_cores
    return f"{diagnosis.processor}; cores: {cores}, threads: {threads}"


def _engine_words(engine: EngineReport) -> str:
    name = f"{engine.engine} {engine.version}".strip()
    if not engine.works:
        return f"{_mark(False)} {name} on {engine.device}: {engine.fault}. To use it: {engine.cure}"
    return f"{_mark(True)} {name} on {engine.device}: {', '.join(engine.precisions)}"


def _mark(is_good: bool) -> str:
    return "ok " if is_good else "no "
