"""One version of a project on the embedded stack: its sources and business code, and all that follows from them.

A running stack takes another version without a stop (`weir.infra.local.reload`). Each has a folder of its own with the
code that runs, so that a file which is half written is never read.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from weir.infra import template
from weir.infra.business import Business
from weir.infra.place import EMBEDDED_ACCOUNT, REGION
from weir.infra.synth import readers, sources_parameters, throttles
from weir.infra.template import Resource
from weir.ingest.contract import routes
from weir.ingest.sources.catalogue import Catalogue

STACK = "weir"
CODE_FOLDER = "code"
# One machine has one processor family and no artifacts to fetch; a provisioned stream shows its shards.
_GIVEN = {
    "ArtifactBucket": "none",
    "ApiDefinitionKey": "none",
    "FunctionKey": "none",
    "StreamMode": "PROVISIONED",
    "ArchiveBufferSeconds": "10",  # a person who tries things out wants to see what was archived
}


class Inputs(NamedTuple):
    """What a project says: its sources, its business code, and parameters of the template by name."""

    catalogue: Catalogue
    business: Business
    given: Mapping[str, str]


class ProjectFiles(Protocol):
    """A project as files that may change while the stack runs."""

    def paths(self) -> list[Path]:
        """Return every file that a change of the project may be in."""

    def read(self, copy: Callable[[Business, Catalogue], Path]) -> Inputs:
        """Read and check the project.

        ``copy`` is given the package as it lies in the project; it keeps a copy of it and returns that one's folder.
        The business code that is returned is the copy. Raises: ServiceError that says what is wrong.
        """


@dataclass(frozen=True, slots=True)
class Version:
    """The template evaluated for one state of the project. ``outputs`` are by the names of the template."""

    inputs: Inputs
    definition: Mapping[str, Any] = field(repr=False)
    parameters: Mapping[str, str] = field(repr=False)
    resources: Mapping[str, Resource] = field(repr=False)
    outputs: Mapping[str, str] = field(repr=False)

    @property
    def catalogue(self) -> Catalogue:
        return self.inputs.catalogue

    @property
    def folder(self) -> Path:
        """The folder of the business code that runs, with the compiled sources beside it."""
        return self.inputs.business.folder

    @property
    def sources_file(self) -> Path:
        return self.folder / "sources.json"


def make(inputs: Inputs) -> Version:
    """Evaluate the template for a project. Raises: ConfigError."""
    catalogue, business = inputs.catalogue, inputs.business
    definition = routes.api_definition(
        catalogue,
        {
            "partition": "aws",
            "region": REGION,
            "credentials": "embedded",
            "handshake_function": f"arn:aws:lambda:{REGION}:{EMBEDDED_ACCOUNT}:function:{STACK}-handshake",
        },
    )
    ready = template.prepare(
        template.load(),
        routes.render(definition),
        throttles(catalogue),
        readers(catalogue),
        business.tables,
        emulated=True,
    )
    needed = sources_parameters(catalogue, partition="aws", region=REGION, account=EMBEDDED_ACCOUNT)
    given = {**_GIVEN, **needed, "Effects": business.package, **inputs.given}
    resources, outputs = template.evaluate(ready, given, stack=STACK, region=REGION, account=EMBEDDED_ACCOUNT)
    return Version(inputs, definition, template.parameters(ready, given), resources, outputs)


def copy_into(home: Path, business: Business, catalogue: Catalogue) -> Path:
    """Keep a copy of the package and the compiled sources under ``home``; return its folder, named by its content."""
    files = {**dict(business.files()), "sources.json": catalogue.dump().encode("utf-8")}
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    folder = home / CODE_FOLDER / digest.hexdigest()[:16]
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def forget_others(home: Path, kept: Path) -> None:
    """Delete the copies of every other version."""
    for folder in (home / CODE_FOLDER).glob("*"):
        if folder != kept:
            shutil.rmtree(folder, ignore_errors=True)
