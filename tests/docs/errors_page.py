"""docs/reference/errors.md: every error, from ingest/errors.py."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

from tests.docs import markdown
from weir.ingest import errors


def page() -> str:
    """Return the page."""
    return markdown.page(
        "Errors",
        "Every error that Weir raises is a leaf of one of three branches (`ingest/errors.py`), and the branch alone decides what happens to a record. The code\n"
        "is stable: it is the quarantine reason and the `reason` of a log line. A command that ends with an error prints what is wrong and the hint, and exits\n"
        "with code 2; a replay whose target stops it exits with code 1, after its report ([exit codes](commands.md#exit-codes)).",
        *(part for branch in branches() for part in _branch(branch)),
    )


def branches() -> list[type[errors.ServiceError]]:
    """Return the branches, in the order of the module."""
    return _children(errors.ServiceError)


def leaves(branch: type[errors.ServiceError]) -> list[type[errors.ServiceError]]:
    """Return what is raised of a branch, in the order of the module."""
    return [one for child in _children(branch) for one in (child, *leaves(child))]


def message(kind: type[errors.ServiceError]) -> str:
    """Return the first line of the docstring, which is the error's message."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def _children(kind: type[errors.ServiceError]) -> list[type[errors.ServiceError]]:
    return [one for one in vars(errors).values() if isinstance(one, type) and one.__base__ is kind]


def _branch(branch: type[errors.ServiceError]) -> tuple[str, str, str]:
    rows = [(markdown.code(leaf.code), leaf.__name__, message(leaf), leaf.hint) for leaf in leaves(branch)]
    return f"## {branch.__name__}", message(branch), markdown.table(["code", "class", "message", "what to do"], rows)
