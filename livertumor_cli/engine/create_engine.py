"""From the name of an engine to the engine; each imports its package only when it is created."""

from __future__ import annotations

from livertumor_cli.engine.engine import Engine, EngineKind, EngineRequest
from livertumor_cli.engine.onnxruntime_engine import OnnxRuntimeEngine
from livertumor_cli.engine.openvino_engine import OpenVinoEngine


def create_engine(request: EngineRequest) -> Engine:
    """Open a model on the engine and the device that `request` names; neither may be AUTO.

    Raises:
        BackendError: If the engine cannot be used.
        ModelContractError: If the file is no model that it can run.
    """
    if request.kind is EngineKind.OPENVINO:
        return OpenVinoEngine(request)
    return OnnxRuntimeEngine(request)
