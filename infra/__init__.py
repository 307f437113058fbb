"""The template and where it runs. Here: what the command line must know without importing any of it."""

from collections.abc import Callable
from pathlib import Path

KINDS = ("embedded", "localstack", "aws")
LOCALSTACK = "http://127.0.0.1:4566"

# The folder that holds the package `weir`: what a process of its own needs on its path.
CODE = Path(__file__).parents[2]

Say = Callable[[str], None]  # prints a line for a person
