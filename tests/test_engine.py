"""Both engines give NumPy's numbers, tell what they obtained, and refuse in a sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from livertumor_cli.arrays import FloatArray
from livertumor_cli.engine import cuda, open_engine, openvino_engine
from livertumor_cli.engine.contract import ModelContract
from livertumor_cli.engine.cuda import Gpu, find_gpu
from livertumor_cli.engine.engine import Device, EngineKind, EngineRequest, Precision
from livertumor_cli.engine.faults import opening_fault, running_fault
from livertumor_cli.engine.onnxruntime_engine import OnnxRuntimeEngine
from livertumor_cli.engine.probe import PROBE_FILE, Probe, probe
from livertumor_cli.errors import (
    BackendError,
    ConfigError,
    ModelContractError,
    ModelNotFoundError,
)

needs_openvino = pytest.mark.skipif(
    not openvino_engine.is_openvino_installed(), reason="OpenVINO is for x86-64 processors"
)

ENGINES = [EngineKind.ONNXRUNTIME, pytest.param(EngineKind.OPENVINO, marks=needs_openvino)]

PATCH = (4, 6, 8)
WEIGHTS = np.array([[2.0], [-1.0], [0.5]], dtype=np.float32)
BIAS = np.array([0.0, 1.0, -3.0], dtype=np.float32)

needs_no_gpu = pytest.mark.skipif(find_gpu() is not None, reason="this machine has an NVIDIA GPU")


def write_model(
    path: Path, *, patch: Sequence[int | str] = PATCH, kind: int = TensorProto.FLOAT
) -> Path:
    """A 1 x 1 convolution from one channel to three, of two or three dimensions."""
    ones = (1,) * len(patch)
    dtype = np.float32 if kind == TensorProto.FLOAT else np.float16
    weights = WEIGHTS.astype(dtype).reshape(3, 1, *ones)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", kind, ["n", 1, *patch])],
        [helper.make_tensor_value_info("y", kind, ["n", 3, *patch])],
        [
            helper.make_tensor("w", kind, weights.shape, weights.tobytes(), raw=True),
            helper.make_tensor("b", kind, (3,), BIAS.astype(dtype).tobytes(), raw=True),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def expected(batch: FloatArray) -> FloatArray:
    ones = (1,) * (batch.ndim - 2)
    return batch * WEIGHTS.reshape(1, 3, *ones) + BIAS.reshape(1, 3, *ones)


def random_batch(*shape: int) -> FloatArray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "linear.onnx")


def on_cpu(file: Path, kind: EngineKind, **changes: object) -> EngineRequest:
    return EngineRequest(file=file, device=Device.CPU, kind=kind, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ENGINES)
def test_the_numbers_are_right(model: Path, kind: EngineKind) -> None:
    engine = open_engine.open_engine(on_cpu(model, kind))
    batch = random_batch(2, 1, *PATCH)
    result = engine.run(batch)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected(batch), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ENGINES)
def test_a_result_outlives_the_next_run(model: Path, kind: EngineKind) -> None:
    engine = open_engine.open_engine(on_cpu(model, kind))
    batch = random_batch(1, 1, *PATCH)
    first = engine.run(batch)
    engine.run(batch + 1)
    np.testing.assert_allclose(first, expected(batch), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ENGINES)
def test_two_dimensions_open_axes_and_strided_input(tmp_path: Path, kind: EngineKind) -> None:
    model = write_model(tmp_path / "flat.onnx", patch=("h", "w"))
    engine = open_engine.open_engine(on_cpu(model, kind))
    assert engine.input_shape == (None, 1, None, None)
    assert engine.output_shape == (None, 3, None, None)
    for shape in ((3, 1, 5, 7), (1, 1, 9, 4)):
        batch = random_batch(*shape[:2], shape[3], shape[2]).swapaxes(2, 3)
        np.testing.assert_allclose(engine.run(batch), expected(batch), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ENGINES)
def test_many_batches_in_order(model: Path, kind: EngineKind) -> None:
    engine = open_engine.open_engine(on_cpu(model, kind))
    batches = [random_batch(1, 1, *PATCH) + step for step in range(4)]
    results = list(engine.run_many(iter(batches)))
    assert len(results) == 4
    for batch, result in zip(batches, results, strict=True):
        np.testing.assert_allclose(result, expected(batch), rtol=1e-6, atol=1e-5)
    assert list(engine.run_many([])) == []


@pytest.mark.parametrize("kind", ENGINES)
def test_an_engine_serves_on_after_many_was_left_early(model: Path, kind: EngineKind) -> None:
    engine = open_engine.open_engine(on_cpu(model, kind))
    batch = random_batch(1, 1, *PATCH)
    stream = engine.run_many(batch + step for step in range(4))
    next(stream)
    del stream
    np.testing.assert_allclose(engine.run(batch), expected(batch), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ENGINES)
def test_info_tells_what_was_obtained(model: Path, kind: EngineKind) -> None:
    info = open_engine.open_engine(on_cpu(model, kind, threads=1)).info
    assert (info.device, info.kind, info.precision) == (Device.CPU, kind, Precision.F32)
    assert info.threads == 1
    assert info.device_name
    assert info.engine == f"{kind} {info.version}"
    assert info.version[0].isdigit()


@needs_openvino
def test_bf16_is_obtained_only_where_the_cpu_has_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = on_cpu(model, EngineKind.OPENVINO, precision=Precision.BF16)
    wanted = Precision.BF16 if openvino_engine.has_bf16() else Precision.F32
    assert open_engine.open_engine(request).info.precision is wanted
    monkeypatch.setattr(openvino_engine, "has_bf16", lambda: False)
    assert open_engine.open_engine(request).info.precision is Precision.F32


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("precision", [Precision.BF16, Precision.FP16])
def test_a_required_precision_that_cannot_be_had_is_refused(
    model: Path, kind: EngineKind, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_engine, "has_bf16", lambda: False)
    request = on_cpu(model, kind, precision=precision, requires_precision=True)
    with pytest.raises(BackendError, match=f"{precision} was asked for.*computes in f32"):
        open_engine.open_engine(request)
    had = replace(request, precision=Precision.F32)
    assert open_engine.open_engine(had).info.precision is Precision.F32


def test_onnx_runtime_stays_at_f32_on_the_cpu(model: Path) -> None:
    request = on_cpu(model, EngineKind.ONNXRUNTIME, precision=Precision.BF16)
    assert open_engine.open_engine(request).info.precision is Precision.F32


@needs_openvino
def test_auto_takes_openvino_where_it_is_installed(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = on_cpu(model, EngineKind.AUTO)
    assert open_engine.open_engine(request).info.kind is EngineKind.OPENVINO
    monkeypatch.setattr(open_engine, "is_openvino_installed", lambda: False)
    assert open_engine.open_engine(request).info.kind is EngineKind.ONNXRUNTIME


@needs_no_gpu
def test_cuda_that_cannot_be_had_is_an_error_that_names_the_missing(model: Path) -> None:
    request = EngineRequest(file=model, device=Device.CUDA)
    with pytest.raises(BackendError) as caught:
        open_engine.open_engine(request)
    assert caught.value.exit_code == 5
    assert "no NVIDIA GPU with a working driver" in caught.value.message
    assert "--device cpu" in caught.value.hint


@needs_no_gpu
def test_a_session_that_landed_on_the_cpu_is_refused(model: Path) -> None:
    request = EngineRequest(file=model, device=Device.CUDA, kind=EngineKind.ONNXRUNTIME)
    with pytest.raises(BackendError, match=r"opened linear\.onnx on CPUExecutionProvider"):
        OnnxRuntimeEngine(request)


@needs_no_gpu
def test_auto_without_a_gpu_says_nothing(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = open_engine.open_engine(EngineRequest(file=model))
    assert engine.info.device is Device.CPU
    assert caplog.records == []


def test_auto_with_an_unusable_gpu_warns_once(
    model: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Probe(
        kind=EngineKind.ONNXRUNTIME, device=Device.CUDA, fault="no cuDNN", cure="install it"
    )
    monkeypatch.setattr(open_engine, "find_gpu", lambda: Gpu("GPU", (9, 0)))
    monkeypatch.setattr(open_engine, "_probe_cuda", lambda: broken)
    open_engine._has_working_cuda.cache_clear()
    for _ in range(2):
        assert open_engine.resolve_device(Device.AUTO) is Device.CPU
    open_engine._has_working_cuda.cache_clear()
    assert len(caplog.records) == 1
    assert "no cuDNN" in caplog.text


def test_the_cpu_build_of_onnx_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    build = SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", build)  # type: ignore[arg-type]
    cuda.find_lacks.cache_clear()
    sentences = [lack.what for lack in cuda.find_lacks()]
    cuda.find_lacks.cache_clear()
    assert "the CPU build of ONNX Runtime is installed" in sentences


@needs_openvino
def test_openvino_and_cuda_exclude_each_other(model: Path) -> None:
    request = EngineRequest(file=model, device=Device.CUDA, kind=EngineKind.OPENVINO)
    with pytest.raises(ConfigError, match="CPU only"):
        open_engine.open_engine(request)
    auto = EngineRequest(file=model, device=Device.AUTO, kind=EngineKind.OPENVINO)
    assert open_engine.open_engine(auto).info.device is Device.CPU


def test_openvino_that_is_not_installed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # type: ignore[arg-type]
    openvino_engine._core.cache_clear()
    with pytest.raises(BackendError, match="OpenVINO cannot be used"):
        open_engine.open_engine(on_cpu(model, EngineKind.OPENVINO))


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("content", [b"", b"\x00\x01garbage", b"<html>404</html>"])
def test_a_file_that_is_no_model(tmp_path: Path, kind: EngineKind, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelContractError) as caught:
        open_engine.open_engine(on_cpu(path, kind))
    assert caught.value.exit_code == 4
    assert "bad.onnx" in caught.value.message


@pytest.mark.parametrize("kind", ENGINES)
def test_a_model_that_was_cut_short(model: Path, kind: EngineKind) -> None:
    model.write_bytes(model.read_bytes()[:-40])
    with pytest.raises(ModelContractError, match=r"linear\.onnx"):
        open_engine.open_engine(on_cpu(model, kind))


@pytest.mark.parametrize("kind", ENGINES)
def test_a_model_with_half_precision_ports(tmp_path: Path, kind: EngineKind) -> None:
    path = write_model(tmp_path / "half.onnx", kind=TensorProto.FLOAT16)
    with pytest.raises(ModelContractError, match=r"one float32 input, not: (float16|f16)"):
        open_engine.open_engine(on_cpu(path, kind))


def test_a_missing_file_and_a_wrong_thread_count(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"absent\.onnx does not exist"):
        open_engine.open_engine(EngineRequest(file=tmp_path / "absent.onnx"))
    with pytest.raises(ConfigError, match="1 or more, not 0"):
        open_engine.open_engine(EngineRequest(file=model, threads=0))


@pytest.mark.parametrize("kind", ENGINES)
def test_the_contract(model: Path, kind: EngineKind) -> None:
    request = on_cpu(model, kind)
    open_engine.open_engine(request, contract=ModelContract(patch=PATCH, classes=3))
    for contract, sentence in (
        (ModelContract(patch=(4, 6, 9), classes=3), r"input .* \(any, 1, 4, 6, 8\)"),
        (ModelContract(patch=(6, 8), classes=3), r"the input"),
        (ModelContract(patch=PATCH, classes=2), r"the output .* \(any, 2, 4, 6, 8\)"),
        (ModelContract(patch=PATCH, classes=3, channels=2), r"the input"),
    ):
        with pytest.raises(ModelContractError, match=sentence):
            open_engine.open_engine(request, contract=contract)


@pytest.mark.parametrize("kind", ENGINES)
def test_a_batch_of_another_shape(model: Path, kind: EngineKind) -> None:
    engine = open_engine.open_engine(on_cpu(model, kind))
    for shape in ((1, 1, 4, 6, 9), (1, 2, *PATCH), (1, 1, 6, 8)):
        with pytest.raises(ModelContractError, match="not a batch of"):
            engine.run(random_batch(*shape))


@pytest.mark.parametrize("kind", ENGINES)
def test_a_size_that_only_the_network_refuses(tmp_path: Path, kind: EngineKind) -> None:
    # As with a size that the strides do not divide: the open axis promises what fails inside.
    row = np.ones((1, 1, 1, 8), dtype=np.float32)
    shape = ["n", 1, "h", "w"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "row"], ["y"])],
        "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [helper.make_tensor("row", TensorProto.FLOAT, row.shape, row.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "add.onnx"))
    engine = open_engine.open_engine(on_cpu(tmp_path / "add.onnx", kind))
    good, bad = random_batch(1, 1, 4, 8), random_batch(1, 1, 4, 7)
    for attempt in (lambda: engine.run(bad), lambda: list(engine.run_many([good, bad]))):
        with pytest.raises(
            ModelContractError, match=r"failed on a batch of \(1, 1, 4, 7\)"
        ) as caught:
            attempt()
        assert "Exception from" not in caught.value.message
    np.testing.assert_array_equal(engine.run(good), good + 1)


@pytest.mark.parametrize("words", ["CUDA out of memory", "std::bad_alloc", "Failed to allocate 9"])
def test_memory_that_ran_out_is_a_fault_of_the_device(words: str) -> None:
    error = RuntimeError(words)
    file = Path("model.onnx")
    for fault in (
        opening_fault(file, error),
        running_fault(file, error, shape=(1, 1, 8), device=Device.CPU),
    ):
        assert isinstance(fault, BackendError)
        assert "memory ran out" in fault.message


def test_a_failure_on_the_gpu_is_a_fault_of_the_device() -> None:
    error = RuntimeError("CUDNN_STATUS_EXECUTION_FAILED\nstack")
    fault = running_fault(Path("m.onnx"), error, shape=(1, 1, 8), device=Device.CUDA)
    assert isinstance(fault, BackendError)
    assert fault.message.endswith("CUDNN_STATUS_EXECUTION_FAILED")


def test_bound_buffers_give_the_same_numbers(model: Path) -> None:
    # The way that CUDA takes, with its buffers in the memory of the CPU.
    engine = OnnxRuntimeEngine(on_cpu(model, EngineKind.ONNXRUNTIME))
    for batch in (random_batch(1, 1, *PATCH), random_batch(1, 1, *PATCH) + 1):
        np.testing.assert_allclose(engine._run_bound(batch), expected(batch), rtol=1e-6, atol=1e-5)
    batch = random_batch(2, 1, *PATCH)
    np.testing.assert_allclose(engine._run_bound(batch), expected(batch), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("precision", [Precision.F32, Precision.BF16])
def test_the_probe_works_here(kind: EngineKind, precision: Precision) -> None:
    result = probe(kind, Device.CPU, precision=precision)
    assert result.works, result.fault


@pytest.mark.gpu
@pytest.mark.skipif(find_gpu() is None, reason="needs an NVIDIA GPU")
def test_the_probe_works_on_cuda() -> None:
    result = probe(EngineKind.ONNXRUNTIME, Device.CUDA, precision=Precision.FP16)
    assert result.works, result.fault
    assert result.info is not None
    assert result.info.device is Device.CUDA


def test_the_probe_file_is_what_its_docstring_says() -> None:
    weights = np.arange(27, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3, 3], pads=[1] * 6),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 5, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 5, 5, 5])],
        [helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 3, 3, 3], weights.tobytes(), raw=True)],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="livertumor",
    )
    assert onnx.load(str(PROBE_FILE)) == model


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )


def test_the_vocabulary_imports_no_engine() -> None:
    code = (
        "import sys; import livertumor_cli.engine.engine, livertumor_cli.engine.open_engine;"
        "print(sorted({'onnxruntime', 'openvino', 'torch'} & set(sys.modules)))"
    )
    assert run_python(code).stdout.strip() == "[]"


def test_nothing_reaches_stdout_or_stderr(model: Path) -> None:
    # In its own process, because the banners are written past Python's streams.
    code = f"""
from pathlib import Path
import numpy as np
from livertumor_cli.engine.engine import Device, EngineKind, EngineRequest
from livertumor_cli.engine.open_engine import open_engine
from livertumor_cli.engine.onnxruntime_engine import OnnxRuntimeEngine
from livertumor_cli.errors import LiverTumorError
file = Path({str(model)!r})
for kind in EngineKind:
    open_engine(EngineRequest(file=file, device=Device.CPU, kind=kind)).run(
        np.zeros((1, 1, 4, 6, 8), np.float32))
try:
    open_engine(EngineRequest(file=file, device=Device.CUDA))
    OnnxRuntimeEngine(EngineRequest(file=file, device=Device.CUDA))
except LiverTumorError:
    pass
try:
    OnnxRuntimeEngine(EngineRequest(file=file, device=Device.CUDA))
except LiverTumorError:
    pass
"""
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("", "")


@needs_openvino
def test_openvino_brings_no_telemetry_client() -> None:
    code = (
        "import sys; from livertumor_cli.engine.openvino_engine import has_bf16; has_bf16();"
        "print([name for name in sys.modules if 'telemetry' in name])"
    )
    assert run_python(code).stdout.strip() == "[]"
