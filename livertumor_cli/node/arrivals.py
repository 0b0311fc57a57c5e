"""Which studies have come whole: known from the associations in which their images came."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from livertumor_cli.io.dicom_net_receive import Transfer


@dataclass(slots=True)
class _Share:
    """What one association brought of one study: numbers of its first and last image."""

    first: int
    last: int
    is_refused: bool = False


@dataclass(slots=True)
class _Study:
    shares: dict[Transfer, _Share] = field(default_factory=dict)
    cut: int = 0
    released: int = 0
    last_s: float = field(default_factory=time.monotonic)


class Arrivals:
    """Remembers who brought what, as long as the program runs; not safe for several threads.

    A study is whole when no association that brought something of it is open, and the last one
    that was cut was followed by one that was released. Every image has a number in the order of
    coming, so that it does not matter how late a cut connection is noticed.
    """

    def __init__(self) -> None:
        self._studies: dict[str, _Study] = {}
        self._count = 0

    def came(self, study: str, transfer: Transfer) -> None:
        """Note an image.

        Args:
            study: Its study.
            transfer: Its association.
        """
        self._share(study, transfer)

    def refused(self, study: str, transfer: Transfer) -> None:
        """Note an image that was not kept: its association counts as cut for this study."""
        self._share(study, transfer).is_refused = True

    def _share(self, study: str, transfer: Transfer) -> _Share:
        self._count += 1
        known = self._studies.setdefault(study, _Study())
        known.last_s = time.monotonic()
        share = known.shares.setdefault(transfer, _Share(self._count, self._count))
        share.last = self._count
        return share

    def settle(self) -> set[str]:
        """The studies that are whole now, and of which nothing is on its way."""
        for study in self._studies.values():
            for transfer in [one for one in study.shares if one.is_over()]:
                share = study.shares.pop(transfer)
                study.last_s = time.monotonic()
                if transfer.is_released() and not share.is_refused:
                    study.released = max(study.released, share.first)
                else:
                    study.cut = max(study.cut, share.last)
        return {
            name
            for name, study in self._studies.items()
            if not study.shares and study.released > study.cut
        }

    def cut_off(self) -> set[str]:
        """The studies of which nothing is on its way and something was lost, as last settled."""
        return {
            name
            for name, study in self._studies.items()
            if not study.shares and study.cut > study.released
        }

    def quiet_s(self, study: str) -> float:
        """Seconds since something of a study came, or an association of it ended.

        Args:
            study: Any; a study that came before the program was started is quiet since then.
        """
        known = self._studies.setdefault(study, _Study())
        return time.monotonic() - known.last_s

    def forget(self, study: str) -> None:
        """The study was taken away; what comes from now on is a new transfer of it."""
        self._studies.pop(study, None)
