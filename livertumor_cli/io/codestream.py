"""The size that a compressed image states in its own first bytes, before it is decoded."""

from __future__ import annotations

import struct

_JPEG2000 = b"\xff\x4f\xff\x51"
_JPEG = b"\xff\xd8"
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Start of frame of every JPEG process and of JPEG-LS; the three others are tables."""


def stated_size(content: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 code stream.

    Args:
        content: One frame.

    Returns:
        None if it is something else, or too damaged to say.
    """
    try:
        if content.startswith(_JPEG2000):
            right, bottom, left, top = struct.unpack_from(">4I", content, 8)
            return bottom - top, right - left
        return _jpeg_size(content) if content.startswith(_JPEG) else None
    except (struct.error, IndexError):
        return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    place = len(_JPEG)
    while content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker in _FRAME_MARKERS:
            rows, columns = struct.unpack_from(">HH", content, place + 5)
            return rows, columns
        (length,) = struct.unpack_from(">H", content, place + 2)
        place += 2 + length
    return None
