"""Java's regular expressions and replacement strings, as far as they mean the same in Python once rewritten.

One difference is left: where a pattern matches the empty string, Java may cut a character beyond U+FFFF in half.

Source: https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/regex/Pattern.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from weir.infra.local.vtl.java import RenderError

_LINE_END = r"\n\r\x85\u2028\u2029"
_ANY = f"[^{_LINE_END}]"
# Before a final line terminator, never between \r and \n, or at the very end.
_END = r"(?:(?=(?:\r\n|[\r\x85\u2028\u2029])\Z)|(?<!\r)(?=\n\Z)|\Z)"
_TOKEN = re.compile(
    r"""
    (?P<escape>\\(?:[dDwWsStnrf]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[1-9](?![0-9])|[^A-Za-z0-9]))
    | (?P<group>\((?:\?(?::|=|!|<=|<!|>))?)
    | (?P<quantifier>(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})[+?]?)
    | (?P<set>\[\^?(?:\\.|[^\\\]\[&]|&(?!&))+\])
    | (?P<any>\.) | (?P<end>\$)
    | (?P<plain>[^\\.\[\](){}*+?$])
    | (?P<close>\)) | (?P<bracket>\])
    """,
    re.VERBOSE | re.DOTALL,
)
_SET_ESCAPE = re.compile(r"\\(?:[dDwWsStnrf]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[^A-Za-z0-9])", re.DOTALL)
_BACKSLASHED = re.compile(r"\\.", re.DOTALL)


class RegexError(RenderError):
    """A regular expression that is wrong in Java, or that Python would read otherwise."""


@lru_cache(maxsize=256)
def java_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a Java pattern.

    Raises: RegexError.
    """
    flags, body = (re.IGNORECASE, pattern[4:]) if pattern.startswith("(?i)") else (re.NOFLAG, pattern)
    try:
        return re.compile("".join(_rewritten(body)), flags | re.ASCII)
    except re.error as error:
        raise RegexError(f"the regular expression {pattern!r}: {error}") from error


def replace_all(text: str, pattern: re.Pattern[str], replacement: str) -> str:
    """Replace as ``String.replaceAll`` does.

    Raises: RegexError where Java throws: for a wrong replacement, but only when there is something to replace.
    """
    pieces: list[str] = []
    start = 0
    text = _units(text, pattern)
    for match in _matches(text, pattern):
        parts = java_replacement(replacement, pattern.groups)
        pieces.append(text[start : match.start()])
        pieces += [(match[part] or "") if isinstance(part, int) else part for part in parts]
        start = match.end()
    return _characters("".join(pieces) + text[start:])


def split(text: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    """Split as ``String.split(regex)`` does: no empty strings at the end, none before an empty match at the start."""
    pieces: list[str] = []
    start = 0
    text = _units(text, pattern)
    for match in _matches(text, pattern):
        if match.end() == 0:
            continue
        pieces.append(text[start : match.start()])
        start = match.end()
    if start == 0:
        return (_characters(text),)
    pieces.append(text[start:])
    while pieces and not pieces[-1]:
        pieces.pop()
    return tuple(map(_characters, pieces))


@lru_cache(maxsize=256)
def java_replacement(replacement: str, group_count: int) -> tuple[str | int, ...]:
    """Take a Java replacement string apart into texts and group numbers.

    Raises: RegexError for a lone ``$``, a backslash at the end, a group that is not there.
    """
    parts: list[str | int] = []
    at = 0
    while at < len(replacement):
        character = replacement[at]
        at += 1
        if character == "$":
            group, at = _group(replacement, at, group_count)
            parts.append(group)
            continue
        if character == "\\":
            if at == len(replacement):
                raise RegexError(f"the replacement {replacement!r} ends in a backslash")
            character = replacement[at]
            at += 1
        parts.append(character)
    return tuple(parts)


def _matches(text: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Find as ``Matcher.find`` does: after an empty match it goes on one character later, unlike Python."""
    at = 0
    while at <= len(text):
        match = pattern.search(text, at)
        if match is None:
            return
        yield match
        at = match.end() + (match.end() == match.start())


_EMPTY = re.compile("")


def _units(text: str, pattern: re.Pattern[str]) -> str:
    """Return a text as UTF-16 units where Java would find an empty match between the two units of one character."""
    if text.isascii() or not pattern.fullmatch(""):
        return text
    encoded = text.encode("utf-16-le", "surrogatepass")
    return "".join(chr(int.from_bytes(encoded[at : at + 2], "little")) for at in range(0, len(encoded), 2))


def between_units(text: str, inserted: str) -> str:
    """Insert a text before, between and behind all UTF-16 units, as ``String.replace("", inserted)`` does."""
    return _characters(_units(text, _EMPTY).replace("", inserted))


def _characters(text: str) -> str:
    """Undo `_units`: two units that are side by side are one character again."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _rewritten(pattern: str) -> list[str]:
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise RegexError(f"the regular expression {pattern!r} at {pattern[at:]!r}")
        if token.lastgroup == "set":
            _check_set(pattern, token[0])
        parts.append({"any": _ANY, "end": _END, "bracket": r"\]"}.get(str(token.lastgroup), token[0]))
        at = token.end()
    return parts


def _check_set(pattern: str, members: str) -> None:
    for escape in _BACKSLASHED.finditer(members):
        if not _SET_ESCAPE.match(members, escape.start()):
            raise RegexError(f"the regular expression {pattern!r} at {escape[0]!r}")


def _group(replacement: str, at: int, group_count: int) -> tuple[int, int]:
    """Read the group number after a $: one digit, and more while there is such a group."""
    digits = re.compile(r"[0-9]").match(replacement, at)
    if digits is None or int(digits[0]) > group_count:
        raise RegexError(f"the replacement {replacement!r}: no such group, or a $ that is not escaped")
    group, at = int(digits[0]), at + 1
    while (
        at < len(replacement) and replacement[at] in "0123456789" and group * 10 + int(replacement[at]) <= group_count
    ):
        group, at = group * 10 + int(replacement[at]), at + 1
    return group, at
