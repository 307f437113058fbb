"""docs/reference/policies.md: what each role of `weir policies` may do, why, and what is left out."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

from collections.abc import Iterable

from tests.docs import markdown
from weir.infra import template
from weir.infra.policies import documents, grants
from weir.infra.policies.documents import Subject

_SUBJECT = Subject("weir", "123456789012", "eu-central-1", "aws", template.defaults(template.load()))


def page() -> str:
    """Return the page."""
    return markdown.page(
        "Policies",
        "What `weir policies ROLE` prints for a stack, and why; [In production](../production.md#who-may-do-what) says how to hand it out. `{stack}`, `{account}` and the other\n"
        "braces are filled in. A resource whose value is a list in braces is granted only where the stack has such a thing: a key of your own, a secret in Secrets Manager.",
        *(_role(name) for name in grants.roles()),
        "## Resources",
        "What the tables above call by a name. Where an ARN has nothing of the stack, the reason is beside it.",
        _resources(),
        "## What CloudFormation calls",
        "For each type of resource of the template, by AWS's own schemas. *Left out* is what a schema lists and the template does not need: a test fails when it comes to need it.",
        _handlers(),
    )


def _role(name: str) -> str:
    role = grants.roles()[name]
    lines = [f"## {name}", f"{markdown.sentence(role.title)} {_sizes(name)}"]
    if role.commands:
        lines.append("Commands: " + ", ".join(markdown.code(f"weir {one}") for one in role.commands) + ".")
    if role.includes:
        lines.append("Beside what " + " and ".join(role.includes) + " may:")
    if role.handlers:
        lines.append(f"Beside [what CloudFormation calls](#what-cloudformation-calls), {role.handlers}.")
    if role.grants:
        lines.append(
            markdown.table(["on", "actions"], ((f"`{on}`", _listed(said)) for on, said in role.grants.items()))
        )
    return "\n\n".join(lines)


def _sizes(name: str) -> str:
    sizes = [documents.chars(one) for one in documents.documents(name, _SUBJECT)]
    text = "a policy of " if len(sizes) == 1 else f"{len(sizes)} policies of "
    return f"For a stack `weir`: {text}{' and '.join(f'{size:,}' for size in sizes)} characters; one may have {documents.MAX_CHARS:,}."


def _resources() -> str:
    rows = []
    for name, about in grants.resources().items():
        conditions = "<br>".join(
            f"{markdown.code(key)} {operator}: {_listed([value] if isinstance(value, str) else value)}"
            for operator, keys in about.conditions.items()
            for key, value in keys.items()
        )
        only = [f"with {about.needs}"] * bool(about.needs) + [f"without a {about.unless}"] * bool(about.unless)
        rows.append((f"`{name}`", "<br>".join(map(markdown.code, about.arns)), conditions, about.why, ", ".join(only)))
    return markdown.table(["name", "ARNs", "only if", "why no narrower", "granted only"], rows)


def _handlers() -> str:
    rows = []
    for kind, handlers in sorted(grants.handlers().items()):
        granted = "<br>".join(
            f"`{on}`: {_listed(sorted({action for actions in parts.values() for action in actions}))}"
            for on, parts in handlers.grants.items()
        )
        out = "<br>".join(f"{_reason(reason)}: {_listed(actions)}" for reason, actions in handlers.without.items())
        rows.append((markdown.code(kind), granted, out))
    return markdown.table(["type", "on: actions", "left out"], rows)


def _reason(reason: str) -> str:
    return reason if " " in reason else f"without {markdown.code(reason)}"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(map(markdown.code, values))
