"""``$input`` and ``$util`` of mapping templates, exactly the members that API Gateway has.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from weir.infra.local.vtl.java import MISSING, RenderError

_PATH_STEP = re.compile(
    r"\.(?P<name>[^.\[\]'\"*()?@\s]+)|\[(?P<quote>['\"])(?P<key>.*?)(?P=quote)\]|\[(?P<index>\d+)\]"
)
_EVERY = re.compile(r"\.\*|\[\*\]")
_ESCAPED = re.compile(r"[\x00-\x1f\"'\\/]|[^\x00-\x7f]")
_SHORT = {
    "\b": "\\b",
    "\n": "\\n",
    "\t": "\\t",
    "\f": "\\f",
    "\r": "\\r",
    '"': '\\"',
    "'": "\\'",
    "\\": "\\\\",
    "/": "\\/",
}
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class BodyNotJsonError(RenderError):
    """The template looks into the body as JSON, and it is none."""


class Input:
    """One request or one integration's answer, as a template sees it.

    ``body`` is text: base64 where the API's binary media types and contentHandling make it so.
    """

    __slots__ = ("_parsed", "body", "params")

    def __init__(
        self,
        body: str,
        *,
        path: Mapping[str, str] | None = None,
        querystring: Mapping[str, str] | None = None,
        header: Mapping[str, str] | None = None,
    ) -> None:
        # API Gateway renders an empty body as an empty object.
        # Source: LocalStack's test_input_body_formatting, recorded against AWS on 2025-03-19.
        self.body = body or "{}"
        # Maps of its own: a template may change them.
        self.params: dict[str, Mapping[str, str]] = {
            "path": dict(path or {}),
            "querystring": dict(querystring or {}),
            "header": dict(header or {}),
        }
        self._parsed: Any = self

    def param(self, name: Any) -> str:
        """Look a parameter up in path, query string and header, in this order; "" if it is nowhere."""
        for kind in ("path", "querystring", "header"):
            value = self.params[kind].get(name)
            if value:
                return value
        return ""

    def path(self, expression: Any) -> Any:
        """Evaluate a JSONPath over the body; MISSING for what is not there or null.

        Raises: BodyNotJsonError, RenderError for a path outside the subset.
        """
        return json_path(_string(expression, "$input.path"))(self._document())

    def json(self, expression: Any) -> str:
        """Evaluate a JSONPath over the body and print the result as JSON.

        Raises: BodyNotJsonError, RenderError for a path outside the subset.
        """
        found = json_path(_string(expression, "$input.json"))(self._document())
        return json.dumps("" if found is MISSING else found, separators=(",", ":"), ensure_ascii=False)

    def _document(self) -> Any:
        if self._parsed is self:
            try:
                self._parsed = json.loads(self.body)
            except ValueError as error:
                raise BodyNotJsonError(str(error)) from error
        return self._parsed


@lru_cache(maxsize=256)
def json_path(expression: str) -> Callable[[Any], Any]:
    """Compile a JSONPath of member names, indexes and ``*``.

    Raises: RenderError for anything else.
    """
    if not expression.startswith("$"):
        raise RenderError(f"the JSONPath {expression!r}: it does not begin with $")
    steps: list[str | int | None] = []
    at = 1
    while at < len(expression):
        step = _PATH_STEP.match(expression, at) or _EVERY.match(expression, at)
        if step is None:
            raise RenderError(f"the JSONPath {expression!r} at {expression[at:]!r}")
        found = step.groupdict() if step.re is _PATH_STEP else {}
        if not found:
            steps.append(None)
        elif found["index"] is not None:
            steps.append(int(found["index"]))
        else:
            steps.append(found["name"] if found["name"] is not None else found["key"])
        at = step.end()

    def evaluate(document: Any) -> Any:
        found = _find([document], steps)
        if None in steps:
            return found
        return MISSING if not found or found[0] is None else found[0]

    return evaluate


def _find(values: list[Any], steps: list[str | int | None]) -> list[Any]:
    for step in steps:
        values = [child for value in values for child in _children(value, step)]
    return values


def _children(value: Any, step: str | int | None) -> list[Any]:
    if isinstance(value, dict):
        if step is None:
            return list(value.values())
        return [value[step]] if step in value else []
    if isinstance(value, list):
        if step is None:
            return value
        return [value[step]] if isinstance(step, int) and step < len(value) else []
    return []


# --- $util


def escape_java_script(value: str) -> str:
    """Escape as commons-lang 2.6 does; ``\\'`` and ``\\/`` among it, the former no JSON."""
    return _ESCAPED.sub(_escape, value)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code <= 0xFFFF:
        return f"\\u{code:04X}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04X}\\u{0xDC00 + (code & 0x3FF):04X}"


def _base64_encode(value: str) -> str:
    return binascii.b2a_base64(value.encode("utf-8", "replace"), newline=False).decode("ascii")


def _base64_decode(value: str) -> str:
    if "=" not in value and len(value) % 4 > 1:
        # Source: java.util.Base64.Decoder: padding is not required, but must be complete where it is given.
        value += "=" * (-len(value) % 4)
    try:
        return binascii.a2b_base64(value, strict_mode=True).decode("utf-8", "replace") if value else ""
    except ValueError as error:
        raise RenderError(f"$util.base64Decode: {error}") from error


def _url_encode(value: str) -> str:
    return quote_plus(value.encode("utf-8", "replace"), safe="*").replace("~", "%7E")


def _url_decode(value: str) -> str:
    if _BAD_PERCENT.search(value):
        raise RenderError("$util.urlDecode: a % without two hexadecimal digits")
    return unquote_plus(value, errors="replace")


def _parse_json(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise RenderError(f"$util.parseJson: {error}") from error


def _string(value: Any, caller: str) -> str:
    if isinstance(value, str):
        return value
    raise RenderError(f"{caller} was given {'null' if value is None else 'no string'}")


def _of_string(name: str, function: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Let a function take a string: Java finds no method for another type, and throws on null."""

    def checked(value: Any) -> Any:
        if type(value) is str:
            return function(value)
        if value is MISSING:
            return function("")
        if value is None and function is not escape_java_script:
            raise RenderError(f"$util.{name} was given null")
        return None

    return checked


# Of strings only.
STRING_UTIL: dict[str, Callable[[str], Any]] = {
    "escapeJavaScript": escape_java_script,
    "parseJson": _parse_json,
    "urlEncode": _url_encode,
    "urlDecode": _url_decode,
    "base64Encode": _base64_encode,
    "base64Decode": _base64_decode,
}
# Of any value, as templates call them.
UTIL = {name: _of_string(name, function) for name, function in STRING_UTIL.items()}
