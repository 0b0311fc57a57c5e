"""Imports point downwards only, and each library stays in the place that is made for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import livertumor_cli

PACKAGE = Path(livertumor_cli.__file__).parent
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

BOTTOM = frozenset(
    {
        *("arrays", "geometry", "axial", "volume", "anatomy", "errors", "findings", "stopwatch"),
        *("file_digest", "memory_limits", "process_memory"),
    }
)
"""The vocabulary: its files may use one another."""

SIBLINGS = frozenset({"io", "engine", "recipes", "measure", "report"})
INFERENCE = BOTTOM | {"engine", "recipes"}
PIPELINE = INFERENCE | SIBLINGS | {"inference", "segment_setup"}
TRAINING = BOTTOM | {"networks", "inference", "phantom", "io", "measure"}
EXPORT = TRAINING | {"training", "engine", "recipes"}

MAY_USE: dict[str, frozenset[str]] = {
    **dict.fromkeys(BOTTOM | SIBLINGS, BOTTOM),
    "__init__": frozenset(),
    "phantom": BOTTOM,
    "inference": INFERENCE,
    "segment_setup": BOTTOM | {"engine", "recipes", "io", "report"},
    "case_files": PIPELINE,
    "reading": BOTTOM | {"io", "segment_setup"},
    "steps": PIPELINE | {"case_files", "reading"},
    "pipeline": {"case_files", "reading", "segment_setup", "steps"},
    "told_segments": PIPELINE | {"reading"},
    "remeasure": PIPELINE | {"case_files", "reading", "told_segments"},
    "follow_up": PIPELINE,
    "evaluation": PIPELINE,
    "demo": PIPELINE | {"pipeline", "case_files", "phantom"},
    "batch": PIPELINE | {"case_files", "reading", "steps"},
    "node": PIPELINE | {"pipeline", "case_files", "reading"},
    "networks": BOTTOM,
    "training": TRAINING,
    "export": EXPORT,
    "cli": PIPELINE
    | {
        "pipeline",
        "case_files",
        "remeasure",
        "follow_up",
        "evaluation",
        "demo",
        "batch",
        "node",
        "phantom",
    },
    "__main__": frozenset({"cli"}),
}
"""What each part of the package may import, besides itself."""

TORCH_COMMANDS = {
    "cli/train.py": {"training"},
    "cli/training_progress.py": {"training"},
    "cli/export.py": {"export", "training"},
}
"""The only commands that reach networks, training and export."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "torch": ("networks/", "training/", "export/"),
    "safetensors": ("training/", "export/"),
    "onnx": ("export/",),
    "monai": ("export/monai_bundle.py",),
    "dynamic_network_architectures": ("export/nnunet.py",),
    "onnxruntime": ("engine/onnxruntime_engine.py", "engine/cuda.py"),
    "openvino": ("engine/openvino_engine.py",),
    "SimpleITK": ("io/", "inference/interpolation.py", "inference/resample.py", "measure/"),
    "nibabel": ("io/", "training/cache.py"),
    "pydicom": ("io/",),
    "pynetdicom": ("io/dicom_net_",),
    "filelock": ("batch/", "node/"),
    "dask": ("batch/cluster.py",),
    "distributed": ("batch/cluster.py", "batch/worker.py"),
    "highdicom": ("io/dicom_seg", "io/dicom_sr", "io/dicom_rtstruct.py"),
    "click": ("cli/",),
    "rich": ("cli/",),
    "jinja2": ("report/html.py", "report/follow_up_report.py", "report/batch_report.py"),
    "PIL": ("report/drawing.py", "training/curve_picture.py"),
    "reportlab": ("report/pdf.py",),
    "psutil": ("process_memory.py", "engine/", "cli/"),
}
"""Where a library may be imported, as the beginning of the path."""


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, as its dotted name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            assert node.module is not None
            found.add(node.module)
            # `from livertumor_cli import io` names a part only here.
            if node.module == "livertumor_cli":
                found.update(f"livertumor_cli.{alias.name}" for alias in node.names)
    return found


def part_of(name: str) -> str:
    """The part of the package in which a file lies: its folder or its own name."""
    return name.split("/", maxsplit=1)[0].removesuffix(".py")


def used_parts(path: Path) -> set[str]:
    modules = (module.split(".") for module in imports(path))
    return {words[1] for words in modules if words[0] == "livertumor_cli" and len(words) > 1}


@pytest.mark.parametrize("name", list(FILES))
def test_imports_point_downwards(name: str) -> None:
    part = part_of(name)
    assert part in MAY_USE, f"{part} has no place in the layers"
    allowed = MAY_USE[part] | TORCH_COMMANDS.get(name, set()) | {part}
    above = used_parts(FILES[name]) - allowed
    assert not above, f"{name} imports {sorted(above)}"


@pytest.mark.parametrize("name", list(FILES))
def test_libraries_stay_in_their_place(name: str) -> None:
    libraries = {module.split(".")[0] for module in imports(FILES[name])}
    for library in libraries & set(ONLY_IN):
        assert name.startswith(ONLY_IN[library]), f"{name} imports {library}"


def test_only_send_listen_and_dask_reach_the_network() -> None:
    """What segments, measures and reports cannot open a connection: it does not know how."""
    allowed = (
        *("io/dicom_net_", "node/", "cli/send.py", "cli/listen.py"),
        *("batch/cluster.py", "batch/worker.py"),
    )
    doors = {"socket", "ssl", "http", "urllib", "asyncio", "socketserver", "pynetdicom", "requests"}
    doors |= {"dask", "distributed"}
    for name, path in FILES.items():
        for module in imports(path):
            is_door = module.split(".")[0] in doors
            if is_door or module.startswith("livertumor_cli.io.dicom_net_"):
                assert name.startswith(allowed), f"{name} imports {module}"


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("cli/")])
def test_only_the_command_line_prints(name: str) -> None:
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{name}:{node.lineno} prints"


def test_the_vocabulary_needs_numpy_only() -> None:
    known = {"numpy", "livertumor_cli", "psutil"} | sys.stdlib_module_names
    for name in BOTTOM:
        outside = {module.split(".")[0] for module in imports(FILES[f"{name}.py"])} - known
        assert not outside, f"{name}.py imports {sorted(outside)}"


def test_the_table_names_no_part_twice_and_has_no_circle() -> None:
    """No part may reach itself through the others, the vocabulary aside."""
    parts = set(MAY_USE) - BOTTOM

    def reach(part: str, seen: frozenset[str]) -> None:
        assert part not in seen, f"circle through {part}"
        for lower in MAY_USE[part] & parts:
            reach(lower, seen | {part})

    for part in parts:
        reach(part, frozenset())


def test_sizes_of_the_house() -> None:
    """At most 300 lines for a file, 40 for a function without its docstring."""
    for name, path in FILES.items():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert length_of(node) <= 40, f"{name}: {node.name} has {length_of(node)} lines"


def length_of(function: ast.FunctionDef) -> int:
    """Lines of a function without decorators and docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


def test_what_follows_the_reading_is_not_imported_before() -> None:
    """It is imported beside the reading; else every scan would wait for it."""
    code = (
        "import sys, livertumor_cli.pipeline as pipeline;"
        "assert pipeline.WHAT_FOLLOWS in ('livertumor_cli.steps',);"
        "late = {pipeline.WHAT_FOLLOWS, 'scipy.ndimage', 'livertumor_cli.measure.case'};"
        "sys.exit(str(sorted(late & set(sys.modules))) if late & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_itk_is_not_imported_before_results_are_written() -> None:
    """It takes 100 MB, most of all while networks run; only turned grids need it there."""
    code = (
        "import sys, livertumor_cli.steps, livertumor_cli.inference.cascade;"
        "sys.exit('SimpleITK' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nibabel_is_not_imported_before_a_nifti_file_is_met() -> None:
    """It takes a quarter of a second, which DICOM need not wait for."""
    code = "import sys, livertumor_cli.case_files; sys.exit('nibabel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
