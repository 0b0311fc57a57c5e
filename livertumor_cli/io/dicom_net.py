"""Who is who on a DICOM network: application entity titles and addresses, without a connection."""

from __future__ import annotations

import re
from dataclasses import dataclass

from livertumor_cli.errors import ConfigError

DEFAULT_AET = "LIVERTUMOR"
_AE_TITLE = re.compile(r"[ -\[\]-~]{1,16}")
"""Printable ASCII without the backslash (PS3.5 6.2)."""

_MOST_PORTS = 65535


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node.

    Attributes:
        aet: Its application entity title.
        host: Name or address.
        port: TCP port.
    """

    aet: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.aet}@{self.host}:{self.port}"


def parse_peer(text: str) -> Peer:
    """Read AET@HOST:PORT, such as PACS@10.0.0.5:104 or PACS@[::1]:104.

    Raises:
        ConfigError: If it is something else.
    """
    aet, at, address = text.rpartition("@")
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) <= _MOST_PORTS
    if not (at and colon and host and is_port):
        raise ConfigError(
            f"'{text}' is no DICOM node.", hint="Write AET@HOST:PORT, such as PACS@10.0.0.5:104."
        )
    return Peer(require_ae_title(aet), host, int(port))


def require_ae_title(text: str) -> str:
    """An application entity title without the spaces around it.

    Raises:
        ConfigError: If it is none.
    """
    title = text.strip()
    if not _AE_TITLE.fullmatch(title):
        raise ConfigError(
            f"'{text}' is no DICOM application entity title.",
            hint="A title has 1 to 16 letters, digits and signs of ASCII, and no backslash.",
        )
    return title
