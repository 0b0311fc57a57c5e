"""Many cases: find them, plan, run them so that reading, inference and writing overlap, resume."""
