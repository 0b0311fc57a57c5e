"""Recipes: cascades as data, where they lie, and the check of their weights."""
