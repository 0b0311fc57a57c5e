"""Measurements on label maps: arrays and a grid in, numbers in mm, ml and HU out."""
