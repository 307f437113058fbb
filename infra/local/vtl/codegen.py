"""The tree of a mapping template as one Python function.

A render must cost little beside the call it prepares, so templates are compiled: variables become Python's locals,
neighbouring text and references one join, and constants are put where they are used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from weir.infra.local.vtl import names
from weir.infra.local.vtl.code import Code, joined
from weir.infra.local.vtl.references import ReferenceCode
from weir.infra.local.vtl.tree import (
    Call,
    Foreach,
    If,
    Index,
    Interpolated,
    Node,
    Not,
    Operation,
    Property,
    Reference,
    Set,
    Text,
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A template's function and what it looks at.

    ``function(inp, context, stage, overrides) -> str``; ``constant`` is its result where that never changes.
    """

    function: Callable[..., str]
    uses_body: bool
    constant: str | None


def compile_tree(nodes: tuple[Node, ...], name: str) -> Compiled:
    """Compile a parsed template.

    Raises: TemplateUnsupported for names, methods and expressions that API Gateway or this subset does not have.
    """
    return _Generator(name, nodes).compiled()


class _Generator:
    """Writes statements; expressions are ReferenceCode's."""

    def __init__(self, name: str, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes
        self.code = ReferenceCode(name, self.nested)
        self.lines: list[str] = []
        self.indent = 1
        # Only what is set once, outside any block, has a known value from there on.
        self.assignments = Counter(_assigned(nodes))
        self.depth = 0
        self.counter = 0

    def compiled(self) -> Compiled:
        only = [node for node in self.nodes if isinstance(node, (Text, Reference))]
        if len(only) == len(self.nodes):
            whole = joined([piece for node in only for piece in self.code.printed(node)])
            fixed = whole.constant if isinstance(whole.constant, str) else None
            return Compiled(self.function([f"    return {whole.text}"]), self.code.uses_body, fixed)
        self.body(self.nodes)
        return Compiled(self.function(self.lines), self.code.uses_body, None)

    def function(self, lines: list[str]) -> Callable[..., str]:
        variables = list(self.code.locals.values())
        shared = f"nonlocal {', '.join(variables)}" if variables else "pass"
        body = "\n".join([*(f"    {variable} = None" for variable in variables), *lines]).replace(_SHARE, shared)
        namespace: dict[str, Any] = dict(self.code.namespace)
        # Every name in the source is made here and every text of the template is a literal in it.
        exec(f"def render(inp, context, stage, overrides):\n{body}\n", namespace)  # noqa: S102
        function: Callable[..., str] = namespace["render"]
        return function

    # --- statements

    def body(self, nodes: tuple[Node, ...]) -> None:
        """Write a function's body that returns what the nodes print."""
        self.emit("o = []")
        self.emit("w = o.append")
        self.emit("e = o.extend")
        self.block(nodes)
        self.emit("return ''.join(o)")

    def block(self, nodes: tuple[Node, ...]) -> None:
        pieces: list[Code] = []
        for node in nodes:
            if isinstance(node, (Text, Reference)):
                pieces += self.code.printed(node)
                continue
            self.print(pieces)
            pieces = []
            if isinstance(node, Set):
                self.set(node)
            elif isinstance(node, If):
                self.if_(node)
            else:
                self.foreach(node)
        self.print(pieces)

    def print(self, pieces: list[Code]) -> None:
        printed = [piece for piece in pieces if piece.constant != ""]
        if len(printed) == 1:
            self.emit(f"w({printed[0].text})")
        elif printed:
            self.emit(f"e(({', '.join(piece.text for piece in printed)}))")

    def set(self, node: Set) -> None:
        value = self.code.value(node.value)
        if node.target.steps or node.target.root in names.RESERVED:
            self.guarded(value, self.override(node.target))
            return
        name = node.target.root
        variable = self.code.local(name)
        self.guarded(value, f"{variable} = {{}}")
        if self.depth == 0 and self.assignments[name] == 1:
            simple = value if value.constant is not None else Code(variable, value.kind, value.certain, simple=True)
            self.code.known[name] = simple

    def override(self, target: Reference) -> str:
        match target.root, target.steps:
            case "context", (Property("responseOverride"), Property("status")):
                return "overrides.set_status({})"
            case "context", (Property("responseOverride"), Property("header"), Property(name)):
                return f"overrides.set_header({name!r}, {{}})"
        raise self.code.unsupported("only variables, $context.responseOverride.status and .header.X can be set", target)

    def guarded(self, value: Code, form: str) -> None:
        """Write an assignment that null leaves alone, as Velocity's does."""
        if value.certain:
            self.emit(form.format(value.text))
            return
        held = self.code.temporary()
        self.emit(f"if ({held} := {value.text}) is not None:")
        self.emit("    " + form.format(held))

    def if_(self, node: If) -> None:
        conditions = [self.code.truth(condition) for condition, _ in node.branches]
        for number, (condition, (_, body)) in enumerate(zip(conditions, node.branches, strict=True)):
            self.emit(f"{'elif' if number else 'if'} {condition}:")
            self.suite(body)
        if node.otherwise:
            self.emit("else:")
            self.suite(node.otherwise)

    def suite(self, nodes: tuple[Node, ...]) -> None:
        with self.deeper():
            before = len(self.lines)
            self.block(nodes)
            if len(self.lines) == before:
                self.emit("pass")

    def foreach(self, node: Foreach) -> None:
        if node.variable in names.RESERVED:
            raise self.code.unsupported(
                "a reserved name", Reference(node.variable, (), node.location, "$" + node.variable)
            )
        number = self.number()
        elements = self.code.value(node.iterable)
        variable = self.code.local(node.variable)
        self.emit(f"s{number} = {variable}")
        self.emit(f"e{number}, n{number} = iterate({elements.text})")
        header = len(self.lines)
        self.emit("")
        self.code.loops.append(number)
        if elements.kind == "keys" and node.variable not in set(_assigned(node.body)):
            self.code.known[node.variable] = Code(variable, "str", certain=True, simple=True)
        self.suite(node.body)
        self.code.known.pop(node.variable, None)
        self.code.loops.pop()
        counted = number in self.code.counted_loops
        loop = f"for i{number}, {variable} in enumerate(e{number}, 1):" if counted else f"for {variable} in e{number}:"
        self.lines[header] = "    " * self.indent + loop
        self.emit(f"{variable} = s{number}")

    def nested(self, body: tuple[Node, ...]) -> Code:
        """Write a string with directives as a function of its own, so that it is evaluated only where it stands."""
        name = f"f{self.number()}"
        self.emit(f"def {name}():")
        with self.deeper():
            self.emit(_SHARE)
            self.body(body)
        return Code(f"{name}()", "str", certain=True)

    # --- lines

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def number(self) -> int:
        self.counter += 1
        return self.counter

    @contextmanager
    def deeper(self) -> Iterator[None]:
        self.indent += 1
        self.depth += 1
        yield
        self.indent -= 1
        self.depth -= 1


# Stands for "nonlocal ..." until all variables are known.
_SHARE = "\0"


def _assigned(value: object) -> Iterator[str]:
    """Yield the name of each variable at each place that assigns it, strings with directives included."""
    match value:
        case tuple():
            for member in value:
                yield from _assigned(member)
        case Set(target, expression):
            if not target.steps:
                yield target.root
            yield from _assigned(expression)
        case If(branches, otherwise):
            yield from _assigned((branches, otherwise))
        case Foreach(variable, iterable, body):
            yield variable
            yield from _assigned((iterable, body))
        case Interpolated(body):
            yield from _assigned(body)
        case Operation(_, left, right):
            yield from _assigned((left, right))
        case Not(operand):
            yield from _assigned(operand)
        case Reference(_, steps):
            yield from _assigned(steps)
        case Call(_, arguments):
            yield from _assigned(arguments)
        case Index(index):
            yield from _assigned(index)
