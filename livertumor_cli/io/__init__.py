"""Files in and out: scans to volumes in HU, label maps and results to disk."""
