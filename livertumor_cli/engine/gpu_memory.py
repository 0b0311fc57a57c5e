"""A network on a GPU whose memory may run out: it tries again, then goes on elsewhere, and says so.

A window at a time is shown to a network and results are summed in the machine's own memory, so
there is no smaller batch to fall back to. What helps is a new session, whose buffers are no larger
than this network needs and not split by earlier ones; and after that the CPU.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from livertumor_cli.arrays import FloatArray
from livertumor_cli.engine.engine import AxisSizes, Device, Engine, EngineInfo, EngineRequest
from livertumor_cli.errors import DeviceMemoryError

_log = logging.getLogger(__name__)

Open = Callable[[EngineRequest], Engine]


class GpuMemoryEngine:
    """One network that is opened anew when its GPU's memory runs out."""

    def __init__(self, requests: Sequence[EngineRequest], *, create: Open) -> None:
        """Open the network as the first request says, or the first that memory does for.

        Args:
            requests: How to open it, each after the memory of the one before ran out. Where the
                last has failed too, the next run begins with the first again.
            create: Opens a request.

        Raises:
            DeviceMemoryError: If the memory of none of them will do.
        """
        self._requests = requests
        self._create = create
        self._tried = 0
        self._engine: Engine | None = None
        self._note = ""
        self._full_device = ""
        self._open()

    @property
    def info(self) -> EngineInfo:
        """What was obtained last, with a note where that is not what it began with."""
        return replace(self._open().info, note=self._note)

    @property
    def input_shape(self) -> AxisSizes:
        """Sizes of the input's axes; None where open."""
        return self._open().input_shape

    @property
    def output_shape(self) -> AxisSizes:
        """Sizes of the output's axes; None where open."""
        return self._open().output_shape

    def run(self, batch: FloatArray) -> FloatArray:
        """Run the model once; see `Engine.run`."""
        while True:
            engine = self._open()
            try:
                return engine.run(batch)
            except DeviceMemoryError as error:
                fault = error.message, error.hint
            self._full_device = engine.info.device_name
            self._engine = engine = None  # type: ignore[assignment]
            self._give_up_or_go_on(*fault)

    def run_many(self, batches: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Run the model over batches one after the other."""
        return map(self.run, batches)

    def free_buffers(self) -> None:
        """Give back what a run needs; see `Engine.free_buffers`."""
        if self._engine is not None:
            self._engine.free_buffers()

    def _open(self) -> Engine:
        """The network, opened by the first way left that memory does for."""
        while self._engine is None:
            try:
                self._engine = self._create(self._requests[self._tried])
            except DeviceMemoryError as error:
                fault = error.message, error.hint
            else:
                self._tell(self._engine.info.device)
                break
            self._full_device = self._full_device or "the GPU"
            self._give_up_or_go_on(*fault)
        return self._engine

    def _give_up_or_go_on(self, message: str, hint: str) -> None:
        """Take the next way; where there is none, fail, and let the next run begin anew.

        A new error is raised: the one that told of the memory holds, through its traceback and
        that of its cause, the session whose memory must be free.
        """
        gc.collect()
        self._tried += 1
        if self._tried == len(self._requests):
            self._tried, self._full_device, self._note = 0, "", ""
            raise DeviceMemoryError(message, hint=hint)

    def _tell(self, device: Device) -> None:
        full = self._full_device
        if full and device is Device.CPU:
            self._note = f"The memory of {full} ran out: a network went on on the CPU."
            _log.warning(self._note)
        elif full:
            _log.warning("The memory of %s ran out; trying once more.", full)
