"""From HU to a label map: intensities, grids, windows, scales, the cascade."""
