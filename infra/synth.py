"""What a stack is made of, finished: template, API definition, function package and parameters, without touching AWS.

`weir deploy` is this, an upload and a change set; `weir synth` writes it into a folder for any other tool.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from weir.infra import package, template
from weir.infra.business import Business
from weir.ingest.contract import routes
from weir.ingest.errors import StackFailed
from weir.ingest.handshakes import questions
from weir.ingest.sources.catalogue import SECRETS_MANAGER, SSM, Catalogue, Source

# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_ROLE_NAME_CHARS = 64
# Where the parts lie below the folder, and so below the bucket.
_ASSETS = "assets"


class Target(NamedTuple):
    """Where a stack will stand. ``boundary`` is the ARN of the permissions boundary of every role; none if empty."""

    stack: str
    account: str
    region: str
    partition: str = "aws"
    emulated: bool = False
    boundary: str = ""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What a stack is made of, with keys that follow the content."""

    definition: bytes
    function: bytes
    template: bytes

    @property
    def definition_key(self) -> str:
        return f"apis/{_digest(self.definition)}.json"

    @property
    def function_key(self) -> str:
        return f"functions/{_digest(self.function)}.zip"

    @property
    def template_key(self) -> str:
        return f"templates/{_digest(self.template)}.json"

    @property
    def uploads(self) -> dict[str, bytes]:
        """Return what must be in the bucket, by key."""
        return {self.definition_key: self.definition, self.function_key: self.function}


def synthesize(
    target: Target, catalogue: Catalogue, business: Business, *, architecture: str, cache: Path
) -> Artifacts:
    """Return the parts of a stack, the same for the same input. Raises: StackFailed, TableInvalid."""
    definition, ready = prepared(target, catalogue, business)
    function = package.build(
        catalogue.dump(),
        architecture=architecture,
        cache=cache,
        requirements=_extra_requirements(catalogue),
        business=business,
    )
    return Artifacts(definition, function, json.dumps(ready, indent=1).encode("utf-8"))


def prepared(target: Target, catalogue: Catalogue, business: Business) -> tuple[bytes, dict[str, Any]]:
    """Return the API definition and the finished template; neither needs the package. Raises: as `synthesize`."""
    role_name = f"{target.stack}-{target.region}-gateway"
    if len(role_name) > _ROLE_NAME_CHARS:
        raise StackFailed(f"--stack {target.stack} is too long: {role_name} may have {_ROLE_NAME_CHARS} characters.")
    arn = f"arn:{target.partition}"
    substitutions = {
        "partition": target.partition,
        "region": target.region,
        "credentials": f"{arn}:iam::{target.account}:role/{role_name}",
        "handshake_function": f"{arn}:lambda:{target.region}:{target.account}:function:{target.stack}-handshake",
    }
    definition = routes.render(routes.api_definition(catalogue, substitutions))
    ready = template.prepare(
        template.load(),
        definition,
        throttles(catalogue),
        readers(catalogue),
        business.tables,
        silent_hours=silent_hours(catalogue),
        emulated=target.emulated,
    )
    if target.emulated:
        _retain_on_emulator(ready)
    if target.boundary:
        _bound(ready, target.boundary)
    return definition, ready


def parameters_of(
    target: Target, catalogue: Catalogue, business: Business, made: Artifacts, *, bucket: str, architecture: str
) -> dict[str, str]:
    """Return the template's parameters that follow from the project and from what was made of it."""
    return {
        **sources_parameters(catalogue, partition=target.partition, region=target.region, account=target.account),
        "ArtifactBucket": bucket,
        "ApiDefinitionKey": made.definition_key,
        "FunctionKey": made.function_key,
        "Architecture": architecture,
        "Effects": business.package,
    }


def own_dependencies(catalogue: Catalogue, business: Business, *, architecture: str, cache: Path) -> dict[str, int]:
    """Return what the project's lock file adds to the function's package: unpacked bytes by name and version."""
    extra = _extra_requirements(catalogue)
    return package.dependencies(business, extra, architecture=architecture, cache=cache)


def write(folder: Path, made: Artifacts, values: Mapping[str, str]) -> list[Path]:
    """Write the parts into a folder, those of an earlier time removed; return the files.

    ``template.json`` and ``parameters.json`` are as CloudFormation takes them; ``parameters.map.json`` is the same as
    one object, as CDK and Terraform do. What lies below ``assets`` goes into the bucket under its path there.
    """
    assets = folder / _ASSETS
    for stale in (path for kind in ("apis", "functions") for path in (assets / kind).glob("*")):
        stale.unlink()
    listed = [{"ParameterKey": name, "ParameterValue": value} for name, value in sorted(values.items())]
    files = {
        folder / "template.json": made.template,
        folder / "parameters.json": json.dumps(listed, indent=1).encode(),
        folder / "parameters.map.json": json.dumps(dict(sorted(values.items())), indent=1).encode(),
        **{assets / key: content for key, content in made.uploads.items()},
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(files)


def _bound(ready: Mapping[str, Any], boundary: str) -> None:
    for resource in ready["Resources"].values():
        if resource["Type"] == "AWS::IAM::Role":
            resource["Properties"]["PermissionsBoundary"] = boundary


def _retain_on_emulator(ready: Mapping[str, Any]) -> None:
    """Say Retain where the template says RetainExceptOnCreate, which LocalStack 4.14 takes for Delete."""
    for resource in ready["Resources"].values():
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
            resource["DeletionPolicy"] = "Retain"


def sources_parameters(catalogue: Catalogue, *, partition: str, region: str, account: str) -> dict[str, str]:
    """Return the template's parameters that follow from the sources: what they need, and the rights to it."""
    here = f"arn:{partition}:secretsmanager:{region}:{account}:secret:"
    # Secrets Manager adds a hyphen and six characters to the name in an ARN.

    def arns(sources: Iterable[Source]) -> str:
        names = {one.secret.removeprefix(SECRETS_MANAGER) for one in sources if one.secret != SSM}
        return ",".join(sorted(name if name.startswith("arn:") else f"{here}{name}-??????" for name in names))

    asked = any(source.methods_by_function for source in catalogue.values())
    return {
        "SecretsManagerArns": arns(catalogue.values()),
        "HandshakeSecretsManagerArns": arns(one for one in catalogue.values() if _answers_with_secret(one)),
        "HandshakeFunction": "true" if asked else "false",
    }


def readers(catalogue: Catalogue) -> dict[str, list[str]]:
    """Return, by the role of each function that reads secrets, the sources whose parameters it reads."""
    kept = {name: source for name, source in catalogue.items() if source.secret == SSM}
    asked = [name for name, source in kept.items() if _answers_with_secret(source)]
    return {"ConsumerRole": list(kept), "HandshakeRole": asked}


def _answers_with_secret(source: Source) -> bool:
    asked = (one for one in source.handshakes if one.match.method in source.methods_by_function)
    return any(questions.needs_secret(handshake) for handshake in asked)


def silent_hours(catalogue: Catalogue) -> dict[str, int]:
    """Return for each source that has an alarm for its silence after how many hours it rings."""
    return {
        name: source.silent_after_hours for name, source in catalogue.items() if source.silent_after_hours is not None
    }


def throttles(catalogue: Catalogue) -> dict[str, tuple[float, int]]:
    """Return (requests per second, burst) of each source that has a throttle."""
    return {
        name: (source.throttle.rate_per_s, source.throttle.burst)
        for name, source in catalogue.items()
        if source.throttle is not None
    }


def _extra_requirements(catalogue: Catalogue) -> tuple[str, ...]:
    asymmetric = any(source.needs_cryptography for source in catalogue.values())
    return ("function-crypto.txt",) if asymmetric else ()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
