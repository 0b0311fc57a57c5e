"""Fixtures of all tests: small scans that the readers accept."""

from __future__ import annotations

import pytest
from scans import a_ct

from livertumor_cli.volume import Volume


@pytest.fixture
def ct() -> Volume:
    """A tiny CT along the patient's axes, one bright voxel at index (z, y, x) = (4, 2, 6)."""
    return a_ct()
