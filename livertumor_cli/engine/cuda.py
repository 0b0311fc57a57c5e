"""What a machine lacks for CUDA: a driver, the right build of ONNX Runtime, or libraries.

`onnxruntime.get_available_providers()` tells what was compiled in, not what runs; so the driver and
the libraries are asked themselves, and `probe.py` runs a model.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
from dataclasses import dataclass
from functools import cache

CUDA_PROVIDER = "CUDAExecutionProvider"

EXTRA_HINT = 'pip install "livertumor[cuda]"'

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
"""Numbers of cuDeviceGetAttribute for the compute capability."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first NVIDIA GPU.

    Attributes:
        name: Model.
        capability: Compute capability, major and minor.
    """

    name: str
    capability: tuple[int, int]

    @property
    def has_tf32(self) -> bool:
        """Whether it multiplies in TF32 (Ampere and later)."""
        return self.capability >= (8, 0)


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is missing for CUDA, and how to get it."""

    what: str
    cure: str


@cache
def count_gpus() -> int:
    """How many NVIDIA GPUs this process may use; 0 without a driver."""
    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


@cache
def find_gpu() -> Gpu | None:
    """The first NVIDIA GPU as its driver names it; None without driver or GPU."""
    driver, device = _driver(), ctypes.c_int(0)
    if driver is None or not count_gpus() or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, len(name), device)
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    return Gpu(name.value.decode("utf-8", "replace"), (major.value, minor.value))


def _driver() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return None
    return None if driver.cuInit(0) else driver


@cache
def find_lacks() -> tuple[Lack, ...]:
    """Everything that is missing for CUDA on this machine; empty where all seems to be there."""
    lacks = []
    if find_gpu() is None:
        lacks.append(
            Lack(f"no NVIDIA GPU with a working driver ({_DRIVER})", "install the NVIDIA driver")
        )
    try:
        import onnxruntime
    except ImportError:
        lacks.append(Lack("ONNX Runtime is not installed", EXTRA_HINT))
        return tuple(lacks)
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        lacks.append(
            Lack(
                "the CPU build of ONNX Runtime is installed",
                f"pip uninstall onnxruntime onnxruntime-gpu, then {EXTRA_HINT}",
            )
        )
        return tuple(lacks)
    missing = _missing_libraries(onnxruntime)
    if missing:
        lacks.append(Lack(f"libraries not found: {', '.join(missing)}", EXTRA_HINT))
    return tuple(lacks)


def _missing_libraries(onnxruntime: object) -> list[str]:
    # Loads the libraries of NVIDIA's Python packages, and prints what it does not find.
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()  # type: ignore[attr-defined]
    major = str(getattr(onnxruntime, "cuda_version", "")).split(".")[0] or "13"
    return [name for name in _library_names(major) if not _can_load(name)]


def _library_names(cuda_major: str) -> list[str]:
    if sys.platform == "win32":
        names = [f"{stem}64_{cuda_major}.dll" for stem in ("cudart", "cublasLt", "cublas")]
        return [*names, "cudnn64_9.dll"]
    names = [f"lib{stem}.so.{cuda_major}" for stem in ("cudart", "cublasLt", "cublas")]
    return [*names, "libcurand.so.10", "libcudnn.so.9"]


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
