"""Names for the array types that pass between the layers; axes are z, y, x unless stated."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
DoubleArray: TypeAlias = NDArray[np.float64]
LabelArray: TypeAlias = NDArray[np.uint8]
InstanceArray: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""Numbers of lesions: 8 bits as long as they suffice."""
BoolArray: TypeAlias = NDArray[np.bool_]
HuArray: TypeAlias = NDArray[np.int16] | NDArray[np.float32]
