"""A network on a GPU whose memory may run out: it tries again, then goes on elsewhere, and says so.

A window at a time is shown to a network and results are summed in the machine's own memory, so
there is no smaller batch to fall back to. What helps is a new session, whose buffers are no larger
than this network needs and not split by earlier ones; and after that the CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from livertumor_cli.arrays import FloatArray
from livertumor_cli.engine.engine import AxisSizes, Device, Engine, EngineInfo, EngineRequest
from livertumor_cli.errors import DeviceMemoryError

_log = logging.getLogger(__name__)

Open = Callable[[EngineRequest], Engine]


class GpuMemoryEngine:
    """One network that is opened anew when its GPU's memory runs out."""

    def __init__(self, requests: Iterable[EngineRequest], *, create: Open) -> None:
        """Open the network as the first request says, or the first that memory does for.

        Args:
            requests: How to open it, each after the memory of the one before ran out.
            create: Opens a request.

        Raises:
            DeviceMemoryError: If the memory of none of them will do.
        """
        self._requests = iter(requests)
        self._create = create
        self._engine: Engine | None = None
        self._full_device = ""
        self._note = ""
        self._open_next(DeviceMemoryError("there is no way to open the network."))

    @property
    def info(self) -> EngineInfo:
        """What was obtained last, with a note where that is not what it began with."""
        return replace(self._opened.info, note=self._note)

    @property
    def input_shape(self) -> AxisSizes:
        """Sizes of the input's axes; None where open."""
        return self._opened.input_shape

    @property
    def output_shape(self) -> AxisSizes:
        """Sizes of the output's axes; None where open."""
        return self._opened.output_shape

    def run(self, batch: FloatArray) -> FloatArray:
        """Run the model once; see `Engine.run`."""
        while True:
            try:
                return self._opened.run(batch)
            except DeviceMemoryError as error:
                fault = error
            # Out of the handler, whose traceback would hold the session that must go.
            self._open_next(fault.with_traceback(None))

    def run_many(self, batches: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Run the model over batches one after the other."""
        return map(self.run, batches)

    def free_buffers(self) -> None:
        """Give back what a run needs; see `Engine.free_buffers`."""
        self._opened.free_buffers()

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise DeviceMemoryError("the memory of the GPU ran out before.")
        return self._engine

    def _open_next(self, fault: DeviceMemoryError) -> None:
        """Close the session and open the next; the fault is raised where there is none."""
        if self._engine is not None:
            self._full_device = self._engine.info.device_name
        self._engine = None
        for request in self._requests:
            try:
                self._engine = self._create(request)
            except DeviceMemoryError as error:
                fault = error.with_traceback(None)
                self._full_device = self._full_device or "the GPU"
                continue
            self._tell()
            return
        raise fault

    def _tell(self) -> None:
        full, device = self._full_device, self._opened.info.device
        if full and device is Device.CPU:
            self._note = f"The memory of {full} ran out: a network went on on the CPU."
            _log.warning(self._note)
        elif full:
            _log.warning("The memory of %s ran out; trying once more.", full)
