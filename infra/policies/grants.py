"""Who may do what, as three files say it: resources.yaml, handlers.yaml and roles.yaml, read and checked.

A grant is a set of actions on a set of resources. A role has those of its own commands, of the roles that it includes,
and, where CloudFormation acts with its rights, of the handlers of every type of resource that the template has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from weir.infra import template
from weir.ingest.errors import OptionInvalid

_FOLDER = Path(__file__).parent
_HANDLERS = ("create", "read", "update", "delete", "also")
_WITHOUT = "without"
# What `template.prepare` adds for many sources.
_ADDED = {"AWS::IAM::ManagedPolicy"}
WITHOUT_SERVICE_ROLE, ALWAYS = "without a service role", "always"

Action = Annotated[str, Field(pattern=r"^[a-z0-9-]+:[A-Za-z0-9.]+$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Resources(_Entry):
    """A set of resources: patterns of ARNs with braces to fill in, and the conditions under which they are granted.

    ``needs`` names a list to fill in without which there is nothing to grant, ``unless`` one with which there is not.
    ``why`` says why they are not narrower.
    """

    arns: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, str | tuple[str, ...]]] = Field({}, alias="if")
    needs: str = ""
    unless: str = ""
    why: str = ""


class Role(_Entry):
    """What a role is for, which commands it runs, and what these call, by the name of a set of resources."""

    title: str
    commands: tuple[str, ...]
    grants: Mapping[str, tuple[Action, ...]]
    includes: tuple[str, ...] = ()
    handlers: Literal["", "without a service role", "always"] = ""


class Handlers(NamedTuple):
    """What CloudFormation calls for one type: by set of resources, by handler; and what it would for more.

    ``without`` has that by the property that is not given, or by a reason in words.
    """

    grants: Mapping[str, Mapping[str, tuple[str, ...]]]
    without: Mapping[str, tuple[str, ...]]


class Grant(NamedTuple):
    """Actions on a set of resources, by its name."""

    resources: str
    actions: tuple[str, ...]


def _read(name: str) -> Any:
    return yaml.safe_load((_FOLDER / name).read_text(encoding="utf-8"))


@cache
def resources() -> Mapping[str, Resources]:
    """Return the sets of resources by name."""
    return TypeAdapter(dict[str, Resources]).validate_python(_read("resources.yaml"))


@cache
def roles() -> Mapping[str, Role]:
    """Return the roles by name."""
    return TypeAdapter(dict[str, Role]).validate_python(_read("roles.yaml"))


@cache
def handlers() -> Mapping[str, Handlers]:
    """Return the handlers by type of resource."""
    given = TypeAdapter(dict[str, dict[str, dict[str, tuple[Action, ...]]]]).validate_python(_read("handlers.yaml"))
    return {
        kind: Handlers({name: one for name, one in parts.items() if name != _WITHOUT}, parts.get(_WITHOUT, {}))
        for kind, parts in given.items()
    }


def types_of(loaded: Mapping[str, Any]) -> set[str]:
    """Return the types of resources that a stack may have: the template's, and those that are added to it."""
    return {resource["Type"] for resource in loaded["Resources"].values()} | _ADDED


def of_role(name: str, *, service_role: bool) -> list[Grant]:
    """Return what a role is granted; ``service_role``: CloudFormation acts with a role of its own.

    Raises: OptionInvalid for a name that no role has.
    """
    if name not in roles():
        raise OptionInvalid(f"There is no role {name!r}, but: {', '.join(roles())}.")
    role = roles()[name]
    found = [grant for included in role.includes for grant in of_role(included, service_role=service_role)]
    found += [Grant(one, actions) for one, actions in role.grants.items()]
    if role.handlers == ALWAYS or (role.handlers == WITHOUT_SERVICE_ROLE and not service_role):
        found += _of_types(types_of(template.load()))
    return list(_joined(found))


def _of_types(kinds: Iterable[str]) -> Iterator[Grant]:
    for kind in sorted(kinds):
        for name, parts in handlers()[kind].grants.items():
            for one in _HANDLERS:
                yield Grant(name, parts.get(one, ()))


def _joined(grants: Iterable[Grant]) -> Iterator[Grant]:
    """Yield each set of resources once, with all its actions."""
    found: dict[str, set[str]] = {}
    for name, actions in grants:
        found.setdefault(name, set()).update(actions)
    for name in resources():
        if name in found:
            yield Grant(name, tuple(sorted(found[name])))
