"""The catalogue of sources: what the function, the gateway and the commands know about each provider.

`sources_file.load` reads what people edit, merges the presets and reports mistakes exactly. `Catalogue.dump` writes
it resolved, as the JSON that the function ships with and `parse_compiled` reads without YAML and without presets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, field_validator
from pydantic.fields import FieldInfo

from weir.ingest.errors import CatalogueInvalid
from weir.ingest.ids import SourceName
from weir.ingest.locations import Location, steps
from weir.ingest.schemes.base import AnyScheme, Scheme, scheme_class
from weir.ingest.strict import Strict
from weir.ingest.times import TimeUnit

__all__ = [
    "Ack",
    "Catalogue",
    "EventSpec",
    "EventTime",
    "Handshake",
    "Match",
    "Preset",
    "Reply",
    "Retries",
    "Scheme",
    "Source",
    "Throttle",
    "parse_compiled",
]

# What a reply inserts: the value at a location, its HMAC as the source's scheme makes one, or the name of the key.
KEY_NAME = "key-name"
PLACEHOLDER = re.compile(
    r"\{(?:hmac-(?P<hmac>hex|base64):)?(?P<at>(?:query|header|field):[\w.-]+|\$[\w.$\[\]-]*|key-name)\}"
)

DAY_S = 86_400
DEFAULT_DEDUPE_DAYS = 30
# Where no signed time is judged: as long as the archive keeps a delivery, the template's ArchiveDays by default.
UNTIMED_DEDUPE_DAYS = 400
# Before the end of a mark's life it is no longer relied on: clocks differ, and a commit takes time.
MARK_MARGIN_S = 3600
# For how long a provider of which that is not known is taken to repeat a delivery.
_REPEATS_S = 7 * DAY_S

ValidName = Annotated[SourceName, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
# Where the secrets are kept: an SSM parameter named after the source, or a secret of Secrets Manager by name or ARN.
SSM = "ssm"
SECRETS_MANAGER = "secretsmanager:"
SecretStore = Annotated[str, StringConstraints(pattern=r"^(ssm|secretsmanager:[A-Za-z0-9:/_+=.@-]{1,2000})$")]
# A type without parameters, by RFC 6838, section 4.2.
MediaType = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$")
]
MAX_CONTENT_TYPES = 20
# An alarm looks back seven days at most, by hours.
# Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
SILENT_HOURS_MAX = 168
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$")]


class EventTime(Strict):
    """Where the time of the event is; it is shown to people and decides nothing."""

    at: Location = Field(description="where the time is in the delivery")
    unit: TimeUnit = Field(default="s", description="how the time is written")


class EventSpec(Strict):
    """Where to find what identifies and describes an event. Of a list, ids join with ``:`` and types with ``.``."""

    id: Location | tuple[Location, ...] = Field(
        default="sha256",
        description="all of a list must be there; `sha256`: hash of what is signed of the body; `request`: retries are "
        "not recognised; an element of a batch that lacks its id has the hash of it",
    )
    type: Location | tuple[Location, ...] = Field(default=(), description="of a list, those that are there")
    time: EventTime | None = Field(default=None, description="where the time of the event is")
    key: Location | None = Field(
        default=None, description="the ordering key, if the URL has none; shown to people only"
    )
    split: str | None = Field(
        default=None,
        pattern=r"^\$[^|]*( \| \$[^|]*)*$",
        description="the array whose elements are the events; an object there is one event",
    )
    payload_field: str = Field(default="", description="the form field with the JSON body")
    repeats: Literal["id", "type"] | None = Field(
        default=None,
        description="where the id is not signed, a digest of the body makes the mark. `type`: one body is sent under "
        "several types, so the type is a part of the mark. `id`: bodies repeat word for word, and only the id tells "
        "them apart: it makes the mark, and who has seen one delivery can have it applied again",
    )
    repeats_because: str = Field(default="", max_length=400, description="how that is known, for people")
    varies: tuple[Location, ...] = Field(
        default=(), description="paths of signed members that differ from attempt to attempt, such as a time of sending"
    )

    @field_validator("split")
    @classmethod
    def _is_path(cls, path: str | None) -> str | None:
        for option in (path or "").split(" | "):
            steps(option.strip())
        return path

    @field_validator("varies")
    @classmethod
    def _are_members(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not path.startswith("$.") or not steps(path):
                raise ValueError(f"{path!r} is not a member of the body: write $.name.other")
        return paths


def pattern_of(wanted: str) -> re.Pattern[str] | None:
    """Return the regular expression that a pattern `/.../` is, None for a plain value. Raises: ValueError."""
    try:
        return re.compile(wanted[1:-1]) if len(wanted) > len("//") and wanted[0] == wanted[-1] == "/" else None
    except re.error as error:
        raise ValueError(f"{wanted} is not a regular expression: {error}") from error


class Match(Strict):
    """How a provider's question is recognised; all that is given must match.

    ``*``: is there; ``[]``: an empty array; ``/.../``: all of it matches the regular expression, which takes code.
    """

    method: Literal["GET", "HEAD", "OPTIONS", "POST"] = Field(description="the method of the question")
    query: dict[str, str] = Field(
        default_factory=dict, description="query parameters that must be there, with their values"
    )
    headers: dict[str, str] = Field(default_factory=dict, description="headers that must be there, with their values")
    body: dict[Location, str] = Field(
        default_factory=dict, description="values of the body that must be there, by location"
    )

    @field_validator("query", "headers", "body")
    @classmethod
    def _compiles(cls, wanted: dict[str, str]) -> dict[str, str]:
        for text in wanted.values():
            pattern_of(text)
        return wanted


class Reply(Strict):
    """The answer. ``{location}`` inserts what was sent; ``{key-name}`` what the secret names its key.

    ``{hmac-hex:location}`` and ``{hmac-base64:location}`` insert its HMAC by algorithm and key of the source's scheme,
    or HMAC-SHA256 if it makes none. Only a plain token is signed, never what could be the text of a forged delivery.
    """

    status: int = Field(200, ge=200, le=299, description="the status of the answer")
    content_type: str = Field(default="application/json", description="the Content-Type of the answer")
    headers: dict[str, str] = Field(default_factory=dict, description="headers of the answer")
    body: str = Field(default="", description="the body of the answer")


class Handshake(Strict):
    """A question that a provider asks before it sends, and the answer that it expects."""

    match: Match = Field(description="what the question looks like")
    reply: Reply = Field(description="the answer")
    verified: bool = Field(default=False, description="the provider checks that a wrong signature is answered 401")
    note: str = Field(default="", description="a remark for people")

    @cached_property
    def needs_code(self) -> bool:
        """Tell whether a template cannot answer: the question is in a body, or the answer needs the secret."""
        texts = (self.reply.body, *self.reply.headers.values())
        blanks = [blank for text in texts for blank in PLACEHOLDER.finditer(text)]
        if any(blank["hmac"] or not blank["at"].startswith(("query:", "header:")) for blank in blanks):
            return True
        wanted = (*self.match.query.values(), *self.match.headers.values())
        return self.verified or bool(self.match.body) or any(map(pattern_of, wanted))


class Ack(Strict):
    """The answer to a stored delivery, where a provider expects another one than Weir's own."""

    status: int = Field(200, ge=200, le=299, description="the status of the answer")
    content_type: str = Field(default="application/json", description="the Content-Type of the answer")
    body: str = Field(default="", description="the body of the answer")


class Throttle(Strict):
    """What the gateway accepts; more is answered 429, so that the provider tries again."""

    rate_per_s: float = Field(gt=0, description="requests a second")
    burst: int = Field(ge=1, description="how many requests may come at once")


class Definition(Strict):
    """What a preset and a resolved source have in common."""

    scheme: AnyScheme
    event: EventSpec = EventSpec.model_construct()
    retry_window_s: int | None = Field(
        default=None, ge=0, description="how long the provider repeats a delivery; null: unknown"
    )
    content_type: str = "application/json"
    content_types: tuple[MediaType, ...] = Field(default=(), max_length=MAX_CONTENT_TYPES)
    handshakes: tuple[Handshake, ...] = ()
    ack: Ack | None = None

    @cached_property
    def usual_dedupe_days(self) -> int:
        """Return for how many days a mark lives unless the source says otherwise.

        Longer than a delivery is accepted after it was signed, and twice as long as the provider repeats it. Where no
        signed time is judged, a delivery that somebody kept is good for ever: its mark lives as long as the archive.
        """
        accepted_s, repeated_s = self.scheme.accepts_for_s, self.retry_window_s or 0
        least_days = DEFAULT_DEDUPE_DAYS if accepted_s is not None else UNTIMED_DEDUPE_DAYS
        return max(least_days, -(-max((accepted_s or 0) + repeated_s, 2 * repeated_s) // DAY_S))


class Retries(Strict):
    """What a public page of the provider says of the delivery that it repeats: whether `event.id` recognises it."""

    docs: str = Field(pattern=r"^https://", description="the page that says it")
    read: date = Field(description="the day on which it was read")
    id: Literal["same", "new", "unstated"] = Field(
        description="whether a retry has the id that `event.id` reads; `new`: it is applied again"
    )
    note: str = Field(min_length=1, description="what makes the id unique, and how often a delivery is repeated")


class Preset(Definition):
    """A provider as a preset describes it, with the source of the facts."""

    title: str
    docs: str = Field(pattern=r"^https://")
    checked: str = Field(pattern=r"^(sdk|vector|docs|unverified): ")
    secret: str = Field(description="what to paste into `weir secrets set`")
    retries: Retries
    covers_body: bool = Field(default=True, description="false: the proof does not cover what was sent")
    no_type: str = Field(default="", description="why its events have no type")
    note: str = ""


class Source(Definition):
    """A source as the pipeline uses it: its preset merged with what the sources file says."""

    name: ValidName
    preset: str | None = None
    dedupe_days: int = Field(default=DEFAULT_DEDUPE_DAYS, ge=1, le=3650)
    throttle: Throttle | None = None
    silent_after_hours: int | None = Field(default=None, ge=1, le=SILENT_HOURS_MAX)
    redact: tuple[HeaderName, ...] = ("Cookie", "Authorization")
    effects: bool = True
    secret: SecretStore = SSM
    handshake_function: bool = False

    @cached_property
    def methods_by_function(self) -> frozenset[str]:
        """Return the HTTP methods that the handshake function serves for this source; none unless it asks for it."""
        if not self.handshake_function:
            return frozenset()
        return frozenset(handshake.match.method for handshake in self.handshakes if handshake.needs_code)

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether the function needs the package `cryptography` for this source."""
        return self.scheme.needs_cryptography

    @cached_property
    def redacted_headers(self) -> frozenset[str]:
        """Return the lower-case names of the headers to drop after verifying; never one that verifying again needs."""
        return frozenset(name.lower() for name in self.redact) - self.scheme.header_names

    @cached_property
    def dedupe_s(self) -> int:
        """Return how long a mark is kept, in seconds."""
        return self.dedupe_days * DAY_S

    @cached_property
    def repeats_s(self) -> int:
        """Return how much later than an event's first delivery another may arrive, in seconds."""
        return min(_REPEATS_S, self.dedupe_s // 2) if self.retry_window_s is None else self.retry_window_s

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Return what is allowed but may be a mistake, one sentence each."""
        found = []
        accepted_s = self.scheme.accepts_for_s
        if accepted_s is not None and self.dedupe_s < accepted_s:
            found.append(
                f"dedupe_days is {self.dedupe_days}, but a delivery is accepted for {accepted_s // DAY_S} days after "
                "it was signed: who has kept one can apply it again."
            )
        if self.retry_window_s is not None and self.dedupe_s < self.retry_window_s:
            days = -(-self.retry_window_s // DAY_S)
            found.append(f"dedupe_days is {self.dedupe_days}, but the provider repeats deliveries for {days} days.")
        needs_code = any(handshake.needs_code for handshake in self.handshakes)
        if needs_code and not self.handshake_function:
            found.append("the provider asks a question that a template cannot answer; add `handshake_function: true`.")
        if self.handshake_function and not needs_code:
            found.append("handshake_function does nothing here: no question of this source needs code.")
        return tuple(found)


class Catalogue(Mapping[str, Source]):
    """The sources by name, in the order of the file."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = dict(sources)

    def __getitem__(self, name: str) -> Source:
        return self._sources[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def dump(self) -> str:
        """Write the resolved catalogue as JSON, the same text for the same sources."""
        return _COMPILED.dump_json(self._sources, indent=1, exclude_defaults=True).decode("utf-8") + "\n"


_COMPILED = TypeAdapter(dict[str, Source], config=ConfigDict(defer_build=True))


def parse_compiled(text: str | bytes) -> Catalogue:
    """Read what `Catalogue.dump` wrote. Raises: CatalogueInvalid.

    It is not validated again: `dump` wrote only what was valid, and building the validators is a tenth of a cold start.
    Only a text that cannot be read this way is validated, to give the error.
    """
    try:
        return Catalogue({name: _taken(Source, document) for name, document in json.loads(text).items()})
    except (ValueError, TypeError, LookupError, AttributeError):
        return _validated(text)


def _taken(model: type[Strict], document: Mapping[str, Any]) -> Any:
    fields = model.model_fields
    if unset := [name for name, field in fields.items() if field.is_required() and name not in document]:
        raise LookupError(unset[0])
    return model.model_construct(**{name: _part(name, fields[name], value) for name, value in document.items()})


def _part(name: str, field: FieldInfo, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_part(name, field, element) for element in value)
    model = scheme_class(value) if name in {"scheme", "any_of"} else _model(field)
    return value if model is None or value is None else _taken(model, value)


def _model(field: FieldInfo) -> type[Strict] | None:
    return next((kind for kind in _kinds(field.annotation) if issubclass(kind, Strict)), None)


def _kinds(annotation: Any) -> Iterator[type]:
    """Yield the classes that an annotation is made of."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from _kinds(argument)


def _validated(text: str | bytes) -> Catalogue:
    try:
        return Catalogue(_COMPILED.validate_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CatalogueInvalid(f"Compiled sources, {where or 'whole'}: {first['msg']}. Deploy again.") from error
