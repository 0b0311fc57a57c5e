"""`python -m livertumor_cli` is the command `livertumor`."""

from livertumor_cli.cli.app import main

main()
