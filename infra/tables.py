"""Tables of the business code in the template: one prototype there, a copy of it here for each declared table.

The template's resources with ``Project`` in their names are the prototype of a table: the table itself and its scaling.
Their copies have the table's own name instead. The function's rights, its setting ``TABLES`` and the output of that
name then list what there is.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from weir.ingest.errors import TableInvalid

_PROTOTYPE = "ProjectTable"
_INDEX = "ProjectIndex"
_PREFIX = "Project"
_PROVISIONED = "TablesProvisioned"


class TableResource(NamedTuple):
    """A declared table: its logical name and its key, indexes, TTL and stream as CloudFormation's properties.

    ``billing`` is "" for what the template's parameter says, or ``on_demand`` or ``provisioned``. ``existing`` is the
    name or ARN of a table that there is already, ``real_name`` its name.
    """

    name: str
    described: Mapping[str, Any]
    billing: str = ""
    existing: str = ""
    real_name: str = ""


def show_key(table: Mapping[str, Any]) -> str:
    """Write the key of a table, with the types; of a declaration or of DynamoDB's description."""
    return _show(table, table["KeySchema"])


def show_index(table: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    """Write key and projection of a table's index, so that two that differ look different."""
    projected = index["Projection"]
    names = ", ".join(sorted(projected.get("NonKeyAttributes", ())))
    return f"{_show(table, index['KeySchema'])}; {projected['ProjectionType']} {names}".rstrip()


def _show(table: Mapping[str, Any], schema: Sequence[Mapping[str, str]]) -> str:
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    return ", ".join(f"{part['AttributeName']} ({types[part['AttributeName']]})" for part in schema)


def expand(template: dict[str, Any], tables: Sequence[TableResource], *, emulated: bool) -> None:
    """Put a copy of the prototype into the template for each table, and take the prototype out.

    Where it is ``emulated``, there is no table yet: an existing one is made, under its name.

    Raises: TableInvalid when a name cannot be had beside another one.
    """
    resources = template["Resources"]
    prototype = {name: resources.pop(name) for name in [*resources] if name.startswith(_PREFIX)}
    names: dict[str, Any] = {}
    arns: list[Any] = []
    for table in sorted(tables):
        if table.existing and not emulated:
            names[table.name] = table.real_name
            arns.append(_existing_arn(table.existing))
            continue
        logical_id = f"{_camel(table.name)}Table"
        for made, resource in _copies(prototype, table):
            if made in resources:
                raise TableInvalid(f"The table {table.name!r} cannot have this name: {made} is taken. Choose another.")
            resources[made] = resource
        names[table.name] = {"Ref": logical_id}
        arns.append({"Fn::GetAtt": [logical_id, "Arn"]})
    _name_tables(template, names)
    _grant(resources["ConsumerRole"], arns)


def _copies(prototype: Mapping[str, Any], table: TableResource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the resources of a table, by logical id."""
    own = _camel(table.name)
    for name, resource in prototype.items():
        if name.startswith(_INDEX):
            for index in table.described.get("GlobalSecondaryIndexes", ()):
                as_index = f"{own}{_camel(index['IndexName'])}Index"
                made = _renamed(resource, {_INDEX: as_index, _PREFIX: own, "${!Index}": index["IndexName"]})
                yield from _billed(name.replace(_INDEX, as_index), made, table)
            continue
        made = _renamed(resource, {_PREFIX: own})
        if name == _PROTOTYPE:
            _describe(made["Properties"], table)
        yield from _billed(name.replace(_PREFIX, own), made, table)


def _describe(properties: dict[str, Any], table: TableResource) -> None:
    throughput = properties["ProvisionedThroughput"]
    described = copy.deepcopy(dict(table.described))
    for index in described.get("GlobalSecondaryIndexes", ()):
        index["ProvisionedThroughput"] = copy.deepcopy(throughput)
    properties.update(described)
    if table.existing:
        properties["TableName"] = table.real_name
    if table.billing == "on_demand":
        properties["BillingMode"] = "PAY_PER_REQUEST"
        _drop_throughput(properties)
    elif table.billing == "provisioned":
        properties["BillingMode"] = "PROVISIONED"
        for one in (properties, *properties.get("GlobalSecondaryIndexes", ())):
            one["ProvisionedThroughput"] = one["ProvisionedThroughput"]["Fn::If"][1]


def _drop_throughput(properties: dict[str, Any]) -> None:
    for one in (properties, *properties.get("GlobalSecondaryIndexes", ())):
        del one["ProvisionedThroughput"]


def _billed(name: str, resource: dict[str, Any], table: TableResource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a resource as the table's billing wants it: scaling only where capacity is provisioned."""
    if resource.get("Condition") == _PROVISIONED:
        if table.billing == "on_demand":
            return
        if table.billing == "provisioned":
            del resource["Condition"]
    yield name, resource


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """Return a copy with other names in all texts."""
    if isinstance(node, Mapping):
        return {name: _renamed(value, names) for name, value in node.items()}
    if isinstance(node, list):
        return [_renamed(value, names) for value in node]
    if isinstance(node, str):
        for before, after in names.items():
            node = node.replace(before, after)
    return node


def _name_tables(template: dict[str, Any], names: Mapping[str, Any]) -> None:
    """Write the setting and the output: JSON of the real names by logical name."""
    parts = {name: real if isinstance(real, str) else f"${{{real['Ref']}}}" for name, real in names.items()}
    listed = {"Fn::Sub": json.dumps(parts, separators=(",", ":"))} if parts else "{}"
    template["Resources"]["Consumer"]["Properties"]["Environment"]["Variables"]["TABLES"] = listed
    template["Outputs"]["Tables"]["Value"] = copy.deepcopy(listed)


def _grant(role: dict[str, Any], arns: Iterable[Any]) -> None:
    """Let the role write these tables beside the events table, and no others."""
    for statement in role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]:
        listed = statement.get("Resource")
        if isinstance(listed, list) and {"Fn::GetAtt": [_PROTOTYPE, "Arn"]} in listed:
            at = listed.index({"Fn::GetAtt": [_PROTOTYPE, "Arn"]})
            listed[at : at + 1] = arns


def _existing_arn(existing: str) -> Any:
    if existing.startswith("arn:"):
        return existing
    arn = f"arn:${{AWS::Partition}}:dynamodb:${{AWS::Region}}:${{AWS::AccountId}}:table/{existing}"
    return {"Fn::Sub": arn}


def _camel(name: str) -> str:
    """Write a name in the letters and digits that a logical id has."""
    parts = "".join(letter if letter.isalnum() else " " for letter in name).split()
    return "".join(part[0].upper() + part[1:] for part in parts)
