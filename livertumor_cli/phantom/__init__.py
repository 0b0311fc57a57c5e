"""Abdominal CT phantoms made of analytic shapes: for the demo, the tests and the training mix.

A phantom is a drawing, not a patient: figures measured on it say that the program works, not how
well it finds tumors.
"""

from livertumor_cli.phantom.abdomen import Phantom, PhantomSpec, Tumor, make_phantom

__all__ = ["Phantom", "PhantomSpec", "Tumor", "make_phantom"]
