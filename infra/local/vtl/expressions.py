"""The expressions of mapping templates: operators, literals, references with their steps."""

from __future__ import annotations

import re
from collections.abc import Callable

from weir.infra.local.vtl import lexer as lex
from weir.infra.local.vtl.tree import (
    Call,
    Expression,
    Index,
    Interpolated,
    Literal,
    Location,
    Node,
    Not,
    Operation,
    Property,
    Reference,
    Text,
)


class ExpressionParser(lex.Cursor):
    """Reads expressions; ``parse_text`` reads the content of a double-quoted string as a template of its own."""

    def __init__(
        self,
        source: str,
        name: str,
        origin: Location,
        *,
        parse_text: Callable[[str, str, Location], tuple[Node, ...]],
    ) -> None:
        super().__init__(source, name, origin)
        self.parse_text = parse_text
        # The lexer states that references left behind, innermost last.
        self.residue: tuple[str, ...] = ()

    def parenthesised(self) -> Expression:
        self.expect(lex.OPEN, "an opening parenthesis is missing")
        condition = self.expression()
        self.close()
        return condition

    def close(self) -> None:
        self.take(lex.WHITE)
        self.expect(lex.CLOSE, "a closing parenthesis is missing, or an operator is not of the subset")
        self.residue = ()

    def expression(self, level: int = 0) -> Expression:
        if level == len(lex.LEVELS):
            return self.unary()
        left = self.expression(level + 1)
        while operator := self.operator(lex.LEVELS[level]):
            left = Operation(operator, left, self.expression(level + 1))
        return left

    def operator(self, spellings: dict[str, str]) -> str:
        start = self.at
        self.take(lex.WHITE)
        word = lex.WORD.match(self.source, self.at)
        candidates = (word[0],) if word else (self.source[self.at : self.at + 2], self.source[self.at : self.at + 1])
        for candidate in candidates:
            if candidate in spellings:
                self.at += len(candidate)
                return spellings[candidate]
        self.at = start
        return ""

    def unary(self) -> Expression:
        self.take(lex.WHITE)
        word = lex.WORD.match(self.source, self.at)
        if self.source.startswith("!", self.at) or (word and word[0] == "not"):
            self.at += len(word[0]) if word else 1
            return Not(self.unary())
        if self.source.startswith("(", self.at):
            return self.parenthesised()
        return self.operand()

    def operand(self) -> Expression:
        """Read a reference, a literal or nothing else."""
        self.take(lex.WHITE)
        start = self.at
        if self.source.startswith("$", start):
            return self.expression_reference()
        if string := lex.STRING.match(self.source, start):
            self.at = string.end()
            return self.string(string[0], start)
        if integer := lex.INTEGER.match(self.source, start):
            self.at = integer.end()
            return Literal(int(integer[0]))
        word = lex.WORD.match(self.source, start)
        if word and word[0] in ("true", "false"):
            self.at = word.end()
            return Literal(word[0] == "true")
        raise self.unsupported("this expression", start)

    def expression_reference(self) -> Reference:
        if not lex.OPENING.match(self.source, self.at):
            raise self.unsupported("a $ without a name", self.at)
        self.residue = ()
        found = self.reference()
        if self.residue and lex.GLUED.match(self.source, self.at):
            raise self.unsupported("text directly after a reference", self.at)
        return found

    def string(self, token: str, start: int) -> Expression:
        quote, content = token[0], token[1:-1]
        if quote == "'":
            return Literal(content.replace("''", "'"))
        interpolates = "$" in content or "#" in content
        if "\\u" in lex.UNICODE_ESCAPE.sub("", content):
            raise self.unsupported("\\u without four hexadecimal digits", start)
        content = lex.UNICODE_ESCAPE.sub(_unescaped, content).replace('""', '"')
        if not interpolates:
            return Literal(content)
        origin = self.location(start + 1)
        if "##" in content:
            return Interpolated(self.parse_text(content, self.name, origin))
        # As Velocity does: a space saves the last character from its lexer, and is taken away again.
        nodes = self.parse_text(content + " ", self.name, origin)
        last = nodes[-1]
        if not isinstance(last, Text) or not last.text.endswith(" "):
            raise self.unsupported("a string that ends inside a directive", start)
        return Interpolated((*nodes[:-1], Text(last.text[:-1])))

    # --- references

    def reference(self, *, backslashes: int = 0) -> Reference:
        start = self.at
        opening = lex.DOLLAR.match(self.source, start)
        if opening is None:
            raise self.unsupported("a $ without a name", start)
        self.at = opening.end()
        root = self.identifier()
        residue, self.residue = self.residue, ()
        steps: list[Property | Call | Index] = []
        while step := self.step():
            steps.append(step)
        if opening[2]:
            if not self.source.startswith("}", self.at):
                raise self.unsupported("${ without }, or with something else than a reference in it", start)
            self.at += 1
            self.residue = residue
        else:
            state = lex.MODIFIER if steps and isinstance(steps[-1], Property) else lex.REFERENCE
            self.residue = (*residue, state)
        return Reference(root, tuple(steps), self.location(start), self.source[start : self.at], backslashes)

    def step(self) -> Property | Call | Index | None:
        if self.source.startswith("[", self.at):
            return self.index()
        if not lex.STEP.match(self.source, self.at):
            return None
        self.at += 1
        name = self.identifier()
        if not self.source.startswith("(", self.at):
            return Property(name)
        self.at += 1
        return Call(name, self.arguments())

    def arguments(self) -> tuple[Expression, ...]:
        arguments: list[Expression] = []
        self.take(lex.WHITE)
        while arguments or not self.source.startswith(")", self.at):
            arguments.append(self.operand())
            self.take(lex.WHITE)
            if not self.source.startswith(",", self.at):
                break
            self.at += 1
        if not self.source.startswith(")", self.at):
            raise self.unsupported("this argument", self.at)
        self.at += 1
        return tuple(arguments)

    def index(self) -> Index:
        self.at += 1
        value = self.operand()
        self.take(lex.WHITE)
        if not self.source.startswith("]", self.at):
            raise self.unsupported("this index", self.at)
        self.at += 1
        return Index(value)

    def identifier(self) -> str:
        start = self.at
        name = self.take(lex.IDENTIFIER)
        if name in ("true", "false"):
            raise self.unsupported(f"{name} as a name", start)
        return name


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16))
