"""Load tests, the fault matrix and benchmarks. Here: what all of them share."""

from collections.abc import Callable

Say = Callable[[str], None]  # prints a line for a person
