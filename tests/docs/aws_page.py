"""docs/aws.md: each behaviour of AWS that Weir relies on, who says so, where it matters, and what would show it."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

from tests.docs import aws_sources, markdown
from tests.docs.aws_facts import DOCUMENTED, SECTIONS, UNKNOWN, Behaviour


def files_of(behaviour: Behaviour) -> list[str]:
    """Return the files that rely on a behaviour: those that it names, or those whose `Source:` line names its page."""
    return list(behaviour.where) or sorted(aws_sources.pages().get(behaviour.page, ()))


def page() -> str:
    """Return the page."""
    rows = [behaviour for section in SECTIONS.values() for behaviour in section]
    documented = sum(one.known == DOCUMENTED for one in rows)
    unknown = sum(one.known == UNKNOWN for one in rows)
    checked = sum(bool(one.scenarios) for one in rows)
    return markdown.page(
        "What Weir relies on AWS for",
        "Weir has not been run on an AWS account. Each row is a behaviour of AWS that it relies on, with AWS's page, how it is known, the files that would be\n"
        "wrong without it, and the check that would show it on an account.\n\n"
        f"Of {len(rows)} behaviours {documented} are documented by AWS, {len(rows) - documented - unknown} were seen by others on AWS, and {unknown} are unknown: AWS does not say, and no evidence was\n"
        f"found. {checked} have a scenario of [conformance](conformance.md), named in the last column: it runs against the embedded stack and LocalStack, and by\n"
        '`make conformance AT=aws` on an account. "No check" means that nothing of ours would show it before it matters. What the emulators do\n'
        "otherwise is in [conformance](conformance.md).",
        *(f"## {title}\n\n{_table(rows)}" for title, rows in SECTIONS.items()),
    )


def _table(rows: list[Behaviour]) -> str:
    return markdown.table(
        ["AWS", "page", "how we know", "where Weir relies on it", "check"],
        [
            (
                one.says,
                f"[page]({one.page})",
                one.known,
                "<br>".join(map(markdown.code, files_of(one))),
                "<br>".join(one.scenarios) or "no check",
            )
            for one in rows
        ],
    )
