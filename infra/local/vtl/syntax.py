"""The grammar of mapping templates: text to a tree, exactly as Apache Velocity 1.7 reads it.

Only the subset that API Gateway's mapping templates need. Velocity never refuses odd text, it prints it, often mangled
by its lexer's states (``$a.b$c(`` loses characters); here whatever is outside the subset, or would be mangled, is a
TemplateUnsupported with line and column.

Source: Velocity's grammar, https://github.com/apache/velocity-engine/blob/1.7/src/parser/Parser.jjt
"""

from __future__ import annotations

import re

from weir.infra.local.vtl import lexer as lex
from weir.infra.local.vtl.expressions import ExpressionParser
from weir.infra.local.vtl.tree import Foreach, If, Location, Node, Set, Text

_MANGLED = "Velocity mangles this text after a reference; write the reference as ${...}"


def parse(source: str, name: str) -> tuple[Node, ...]:
    """Parse a whole template; ``name`` is for messages.

    Raises: TemplateUnsupported, with line and column.
    """
    return _parse_text(source, name, Location(1, 1))


def _parse_text(source: str, name: str, origin: Location) -> tuple[Node, ...]:
    return _Parser(source, name, origin, parse_text=_parse_text).whole()


class _Parser(ExpressionParser):
    """One pass over one text: a template, or the content of a double-quoted string in it."""

    def whole(self) -> tuple[Node, ...]:
        nodes, closer = self.block(())
        if closer:
            raise self.unsupported(f"#{closer} does not close anything", self.at)
        return nodes

    # --- text and what interrupts it

    def block(self, closers: tuple[str, ...]) -> tuple[tuple[Node, ...], str]:
        """Read nodes up to one of ``#closers`` (which is consumed) or, without closers, the end of the text."""
        nodes: list[Node] = []
        start = self.at
        while self.at < len(self.source):
            if lex.SET.match(self.source, self.at):
                nodes.append(self.set_directive())
                continue
            character = self.source[self.at]
            if self.residue and character not in "$\\#":
                self.after_reference(nodes)
            elif character == "#":
                closer = self.hash(nodes, closers)
                if closer:
                    return tuple(nodes), closer
            elif character in "$\\":
                self.dollar(nodes)
            else:
                nodes.append(Text(self.take(lex.TEXT)))
        if closers:
            raise self.unsupported("#end is missing for the block that begins here", start)
        return tuple(nodes), ""

    def after_reference(self, nodes: list[Node]) -> None:
        """Read what follows a reference without a gap, where Velocity's lexer is not yet back in plain text."""
        start = self.at
        word = lex.IDENTIFIER.match(self.source, start)
        if word:
            self.at = word.end()
            nodes.append(Text(word[0]))
        following = self.source[self.at : self.at + 1]
        glued = following in ("[", "{") or lex.STEP.match(self.source, self.at)
        if glued or (following == "(" and lex.MODIFIER in self.residue) or (word and word[0] in ("true", "false")):
            raise self.unsupported(_MANGLED, start)
        if word:
            return
        if following == "}":
            self.at += 1
            self.residue = self.residue[:-1]
            nodes.append(Text("}"))
        else:
            self.residue = ()

    def dollar(self, nodes: list[Node]) -> None:
        """Read a reference with the backslashes before it, or a dollar or backslash that is plain text."""
        start = self.at
        backslashes = len(self.take(lex.BACKSLASHES))
        if not self.source.startswith("$", self.at):
            self.plain_backslashes(nodes, start)
            return
        opening = lex.DOLLAR.match(self.source, self.at)
        if opening is None:
            self.plain_dollar(nodes, start)
            return
        self.leave_reference()
        extra = opening[0].count("$") - 1
        if extra and backslashes:
            raise self.unsupported("backslashes before more than one $", start)
        if extra:
            nodes.append(Text("$" * extra))
        self.at += extra
        nodes.append(self.reference(backslashes=backslashes))

    def plain_backslashes(self, nodes: list[Node], start: int) -> None:
        if self.source.startswith("#", self.at):
            raise self.unsupported("an escaped #", start)
        if self.at == len(self.source) and (self.at - start) % 2 == 0:
            raise self.unsupported("backslashes at the very end", start)
        self.residue = ()
        nodes.append(Text(self.source[start : self.at]))

    def plain_dollar(self, nodes: list[Node], start: int) -> None:
        dollar = self.at
        following = self.source[dollar + 1 : dollar + 2]
        if following in ("[", ".") and dollar == start and not self.residue:
            # Velocity has a token of its own for these two.
            self.at = dollar + 2
        else:
            self.leave_reference()
            if following in ("!", "{", "}", "[", ".") or self.residue or lex.SET_NEXT.match(self.source, dollar + 1):
                raise self.unsupported("a $ that Velocity mangles", dollar)
            self.at = dollar + 1
        nodes.append(Text(self.source[start : self.at]))

    def leave_reference(self) -> None:
        # A new reference ends the one before it only when that one did not end in a property.
        if self.residue and self.residue[-1] == lex.REFERENCE:
            self.residue = self.residue[:-1]

    # --- directives

    def hash(self, nodes: list[Node], closers: tuple[str, ...]) -> str:
        """Read what a # begins; return the closer's name when it closes the block."""
        start = self.at
        if self.source.startswith("#[[", start):
            nodes.append(Text(self.delimited(lex.UNPARSED, "]]#")[3:-3]))
            return ""
        if self.source.startswith("#*", start):
            self.delimited(lex.BLOCK_COMMENT, "*#")
            return ""
        if self.residue[-1:] == (lex.MODIFIER,) and self.source.startswith("##", start):
            raise self.unsupported("Velocity reads no comment directly after a property", start)
        self.residue = self.residue[:-1]
        if self.residue:
            raise self.unsupported("Velocity mangles a # after these references; write them as ${...}", start)
        if self.source.startswith("##", start):
            if lex.UNFINISHED.match(self.take(lex.LINE_COMMENT)):
                raise self.unsupported("a comment that ends in $ or # at the end of the text", start)
            return ""
        directive = lex.DIRECTIVE.match(self.source, start)
        if directive is None:
            self.plain_hash(nodes)
            return ""
        return self.directive(directive[1] or directive[2], directive.end(), nodes, closers)

    def directive(self, word: str, after: int, nodes: list[Node], closers: tuple[str, ...]) -> str:
        if word in closers:
            self.at = after
            if word != "elseif":
                self.take(lex.END_OF_LINE)
            return word
        if word == "if":
            self.at = after
            nodes.append(self.if_directive())
        elif word == "foreach":
            nodes.append(self.foreach_directive(after))
        elif word in ("else", "elseif", "end"):
            raise self.unsupported(f"#{word} does not close anything", self.at)
        else:
            raise self.unsupported(f"the directive #{word}", self.at)
        return ""

    def plain_hash(self, nodes: list[Node]) -> None:
        after = self.at + 1
        if lex.SET_NEXT.match(self.source, after) or self.source[after] in "{@-.0123456789":
            raise self.unsupported("a # that Velocity mangles", self.at)
        nodes.append(Text("#"))
        self.at = after

    def delimited(self, whole: re.Pattern[str], closing: str) -> str:
        start = self.at
        self.expect(whole, f"{closing} is missing")
        return self.source[start : self.at]

    def set_directive(self) -> Set:
        residue, self.residue = self.residue, ()
        self.take(lex.SET)
        self.take(lex.WHITE)
        start = self.at
        if not lex.PLAIN.match(self.source, start):
            raise self.unsupported("#set needs a plain $name on its left", start)
        target = self.reference()
        self.residue = ()
        self.take(lex.WHITE)
        if not self.source.startswith("=", self.at):
            raise self.unsupported("#set without =", self.at)
        self.at += 1
        value = self.expression()
        self.close()
        self.residue = residue
        return Set(target, value)

    def if_directive(self) -> If:
        branches = []
        otherwise: tuple[Node, ...] = ()
        closer = "if"
        while closer in ("if", "elseif"):
            condition = self.parenthesised()
            body, closer = self.block(("elseif", "else", "end"))
            branches.append((condition, body))
        if closer == "else":
            otherwise, _ = self.block(("end",))
        return If(tuple(branches), otherwise)

    def foreach_directive(self, after: int) -> Foreach:
        location = self.location(self.at)
        self.at = after
        self.expect(lex.OPEN, "#foreach without (")
        self.take(lex.WHITE)
        variable = lex.VARIABLE.match(self.source, self.at)
        if variable is None:
            raise self.unsupported("#foreach needs a plain $name", self.at)
        self.at = variable.end()
        self.expect(lex.IN, "#foreach without in")
        iterable = self.operand()
        self.close()
        body, _ = self.block(("end",))
        return Foreach(variable[1], iterable, body, location)
