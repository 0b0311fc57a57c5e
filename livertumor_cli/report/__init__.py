"""Findings in, report documents out."""
