"""Two networks that look for lesions in the same region, averaged.

Networks of different design, trained on the same patients, find the same tumors but err in
different places: where only one of them sees a tumor, the average mostly stays below the threshold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.scales import tumor_wins
from livertumor_cli.recipes.recipe import Stage


def averaged(first: Prediction, second: Prediction, *, stages: tuple[Stage, ...]) -> Prediction:
    """The mean of what two stages say.

    Background and what both tell apart are averaged. A structure that only the first tells keeps
    its probability as far as those leave room, and the liver is all that remains: the second counts
    it as liver.

    Args:
        first: With the liver among its structures, which are the result's; changed in place.
        second: On the same grid, with the liver and no structure that the first has not.
        stages: The two stages, for what each alone calls tumor.
    """
    alone = tuple(
        bits
        for opinion, stage in zip((first, second), stages, strict=True)
        for bits in _tumor_alone(opinion, stage)
    )
    mean = first.probabilities
    mean[0] += second.probabilities[0]
    mean[0] *= 0.5
    room = 1.0 - mean[0]
    shared = [name for name in first.structures if name in second.structures and name != "liver"]
    others = [name for name in first.structures if name not in second.structures]
    for name in shared:
        channel = 1 + first.structures.index(name)
        mean[channel] += second.probabilities[1 + second.structures.index(name)]
        mean[channel] *= 0.5
        room -= mean[channel]
    np.maximum(room, 0.0, out=room)
    for name in others:
        channel = 1 + first.structures.index(name)
        np.minimum(mean[channel], room, out=mean[channel])
        room -= mean[channel]
    mean[1 + first.structures.index("liver")] = room
    return Prediction(mean, first.structures, first.geometry, alone)


def _tumor_alone(opinion: Prediction, stage: Stage) -> tuple[NDArray[np.uint8], ...]:
    """What a stage alone calls tumor, at each of its scales."""
    if opinion.tumor_at_scales or "tumor" not in opinion.structures:
        return opinion.tumor_at_scales
    return (np.packbits(tumor_wins(opinion.probabilities, stage)),)
