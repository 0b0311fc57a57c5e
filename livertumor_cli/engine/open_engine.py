"""Open a model on the best engine that the machine truly has."""

from __future__ import annotations

from livertumor_cli.engine.contract import ModelContract
from livertumor_cli.engine.engine import Device, Engine, EngineRequest


def resolve_device(device: Device) -> Device:
    """CPU or CUDA: what `device` comes to on this machine."""
    raise NotImplementedError


def open_engine(request: EngineRequest, *, contract: ModelContract | None = None) -> Engine:
    """Open a model."""
    raise NotImplementedError
