"""The words of mapping templates: what Apache Velocity 1.7's lexer takes as one token, and a cursor over a text.

Source: https://github.com/apache/velocity-engine/blob/1.7/src/parser/Parser.jjt
"""

from __future__ import annotations

import re

from weir.infra.local.vtl.tree import Location
from weir.ingest.errors import TemplateUnsupported

_GAP = r"[ \t\r\n]*"
_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
# A directive's closing parenthesis, #else and #end swallow the rest of an otherwise empty line.
_REST_OF_LINE = r"(?:[ \t]*(?:\r\n|\n|\r))?"

TEXT = re.compile(r"[^$#\\]+")
SET = re.compile(r"[ \t]*#(?:set|\{set\}) *\(")
DIRECTIVE = re.compile(r"#(?:\{([A-Za-z_]\w*)\}|([A-Za-z_@][A-Za-z0-9_@]*))", re.ASCII)
OPEN = re.compile(_GAP + r"\(")
CLOSE = re.compile(r"\)" + _REST_OF_LINE)
END_OF_LINE = re.compile(_REST_OF_LINE)
LINE_COMMENT = re.compile(r"##[^\r\n]*(?:\r\n|\n|\r)?")
# Inside comments and unparsed blocks Velocity still takes these as one, so that `#*#` does not end a comment.
_STILL = r"#\*\*[^#]|#\*|#\[\["
BLOCK_COMMENT = re.compile(rf"#\*(?:{_STILL}|(?!\*#).)*\*#", re.DOTALL)
UNPARSED = re.compile(rf"#\[\[((?:{_STILL}|(?!\]\]#).)*)\]\]#", re.DOTALL)
# At the very end of a comment without a line end, these leave Velocity's lexer waiting for more.
UNFINISHED = re.compile(rf"##.*(?:\$(?:\\*!)?|#|{_STILL})\Z")
BACKSLASHES = re.compile(r"\\*")
DOLLAR = re.compile(r"\$+(!?)(\{?)(?=[A-Za-z_])")
IDENTIFIER = re.compile(_NAME)
STEP = re.compile(r"\.(?=[A-Za-z])")
WHITE = re.compile(_GAP)
STRING = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'')
INTEGER = re.compile(r"-?[0-9]+(?![.0-9eE])")
WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
UNICODE_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
PLAIN = re.compile(r"\$(?=[A-Za-z_])")
VARIABLE = re.compile(r"\$(" + _NAME + ")")
IN = re.compile(r"[ \t\r\n]+in\b")
OPENING = re.compile(r"\$!?\{?[A-Za-z_]")
GLUED = re.compile(r"[A-Za-z_{\[]")
SET_NEXT = re.compile(r"[ \t]*#(?:set|\{set\}) *\(|[$#\\]|\Z")

# Lowest first; each level is left-associative.
LEVELS: tuple[dict[str, str], ...] = (
    {"||": "||", "or": "||"},
    {"&&": "&&", "and": "&&"},
    {"==": "==", "eq": "==", "!=": "!=", "ne": "!="},
    {"<=": "<=", "le": "<=", ">=": ">=", "ge": ">=", "<": "<", "lt": "<", ">": ">", "gt": ">"},
)

# What Velocity's lexer still expects after a reference: MODIFIER would also take an argument list.
REFERENCE, MODIFIER = "reference", "modifier"


class Cursor:
    """A position in one text: a template, or the content of a double-quoted string at ``origin`` of it."""

    def __init__(self, source: str, name: str, origin: Location) -> None:
        self.source = source
        self.name = name
        self.origin = origin
        self.at = 0

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.source, self.at)
        if found is None:
            raise self.unsupported("this", self.at)
        self.at = found.end()
        return found[0]

    def expect(self, pattern: re.Pattern[str], complaint: str) -> None:
        if not pattern.match(self.source, self.at):
            raise self.unsupported(complaint, self.at)
        self.take(pattern)

    def location(self, at: int) -> Location:
        before = self.source[:at]
        line = before.count("\n")
        column = at - (before.rfind("\n") + 1)
        return Location(self.origin.line + line, column + (self.origin.column if line == 0 else 1))

    def unsupported(self, complaint: str, at: int) -> TemplateUnsupported:
        location = self.location(at)
        rest = self.source[at : at + 30].splitlines()
        near = rest[0] if rest else "the end"
        return TemplateUnsupported(
            f"{complaint}, near {near!r}", template=self.name, line=location.line, column=location.column
        )
