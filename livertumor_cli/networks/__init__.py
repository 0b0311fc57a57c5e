"""One file per network of a paper; torch only, imported by `training` and `export` alone."""
