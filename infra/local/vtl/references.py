"""References and expressions of mapping templates as Python expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weir.infra.local.vtl import java, names
from weir.infra.local.vtl.code import Code, ValueKind, constant, joined
from weir.infra.local.vtl.input import STRING_UTIL, UTIL, json_path
from weir.infra.local.vtl.methods import find_method
from weir.infra.local.vtl.regex import java_pattern, java_replacement
from weir.infra.local.vtl.tree import (
    Call,
    Expression,
    Index,
    Interpolated,
    Literal,
    Node,
    Not,
    Operation,
    Property,
    Reference,
    Text,
)
from weir.ingest.errors import TemplateUnsupported

_STRING_RESULTS: dict[str, ValueKind] = {
    **dict.fromkeys(("concat", "replace", "replaceAll", "toLowerCase", "toUpperCase", "trim", "substring"), "str"),
    **dict.fromkeys(("contains", "endsWith", "isEmpty", "matches", "startsWith"), "bool"),
    **dict.fromkeys(("indexOf", "lastIndexOf", "length"), "int"),
}
_COMPARISONS = {
    "<": "less({0}, {1})",
    "<=": "less_or_equal({0}, {1})",
    ">": "less({1}, {0})",
    ">=": "less_or_equal({1}, {0})",
}
# Java gives every object these, and Velocity finds them before a map's member.
_GETTERS = frozenset({"class", "Class"})
_LOOP = {
    "count": ("i{0}", "int"),
    "first": ("(i{0} == 1)", "bool"),
    "hasNext": ("(i{0} < n{0})", "bool"),
    "index": ("(i{0} - 1)", "int"),
    "last": ("(i{0} >= n{0})", "bool"),
}


class ReferenceCode:
    """Turns expressions into Python; ``nested`` turns a string with directives in it into a call."""

    def __init__(self, name: str, nested: Callable[[tuple[Node, ...]], Code]) -> None:
        self.name = name
        self.nested = nested
        self.namespace: dict[str, Any] = {
            "text": java.text,
            "truth": java.truth,
            "equal": java.equal,
            "less": java.less,
            "less_or_equal": java.less_or_equal,
            "get_property": java.get_property,
            "get_index": java.get_index,
            "get_member": java.get_member,
            "iterate": java.iterate,
        }
        self.locals: dict[str, str] = {}
        # Variables that can hold one kind of value only, where that is certain.
        self.known: dict[str, Code] = {}
        self.loops: list[int] = []
        self.counted_loops: set[int] = set()
        self.uses_body = False
        self._temporaries = 0

    # --- expressions

    def value(self, expression: Expression) -> Code:
        """Return the value of an expression."""
        match expression:
            case Literal():
                return constant(expression.value)
            case Interpolated():
                return self.string(expression.body)
            case Reference():
                return self.reference(expression)
            case _:
                return Code(self.truth(expression), "bool", certain=True)

    def truth(self, expression: Expression) -> str:
        """Return a Python condition: what #if makes of the expression. A string or number literal is false there."""
        match expression:
            case Literal():
                return str(expression.value is True)
            case Interpolated():
                return "False"
            case Reference():
                code = self.reference(expression)
                return code.text if code.kind == "bool" and code.certain else f"truth({code.text})"
            case Not():
                return f"(not {self.truth(expression.operand)})"
            case Operation("&&" | "||" as operator):
                word = "and" if operator == "&&" else "or"
                return f"({self.truth(expression.left)} {word} {self.truth(expression.right)})"
            case Operation():
                return self.comparison(expression)

    def comparison(self, operation: Operation) -> str:
        left, right = self.value(operation.left), self.value(operation.right)
        if operation.operator in _COMPARISONS:
            return _COMPARISONS[operation.operator].format(left.text, right.text)
        if left.kind == right.kind == "str":
            return f"({left.text} {operation.operator} {right.text})"
        return (
            f"equal({left.text}, {right.text})"
            if operation.operator == "=="
            else f"(not equal({left.text}, {right.text}))"
        )

    def string(self, body: tuple[Node, ...]) -> Code:
        pieces: list[Code] = []
        for node in body:
            if not isinstance(node, (Text, Reference)):
                return self.nested(body)
            pieces += self.printed(node)
        return joined(pieces)

    def printed(self, node: Text | Reference) -> list[Code]:
        """Return what a node prints, as certain strings."""
        if isinstance(node, Text):
            return [constant(node.text)]
        code = self.reference(node)
        halved = "\\" * (node.backslashes // 2)
        if node.backslashes % 2:
            shown, unset = halved + node.literal, halved + "\\" + node.literal
            if code.certain:
                return [constant(shown)]
            return [Code(f"({shown!r} if {code.text} is not None else {unset!r})", "str", certain=True)]
        return [constant(halved), self.as_text(code)]

    def as_text(self, code: Code) -> Code:
        if code.constant is not None:
            return constant(java.text(code.constant))
        if code.kind == "str":
            return code if code.certain else Code(f"({code.text} or '')", "str", certain=True)
        if code.kind == "int" and code.certain:
            return Code(f"str({code.text})", "str", certain=True)
        if code.simple and code.text.isidentifier():
            return Code(f"({code.text} if type({code.text}) is str else text({code.text}))", "str", certain=True)
        held = self.temporary()
        return Code(f"({held} if type({held} := {code.text}) is str else text({held}))", "str", certain=True)

    # --- references

    def reference(self, reference: Reference) -> Code:
        """Return the value of a reference, null where any step of it is."""
        special = {
            "input": self.input_member,
            "util": self.util_member,
            "context": self.context_member,
            "foreach": self.foreach_member,
        }.get(reference.root)
        steps = reference.steps
        if special is not None:
            code, steps = special(reference), steps[1:]
        elif reference.root == "stageVariables":
            code = Code("stage", "map", certain=True, simple=True)
        else:
            code = self.variable(reference)
        for step in steps:
            code = self.step(code, step, reference)
        return code

    def variable(self, reference: Reference) -> Code:
        if reference.root in ("velocityCount", "velocityHasNext"):
            raise self.unsupported("use $foreach.count and $foreach.hasNext", reference)
        return self.known.get(reference.root) or Code(self.local(reference.root), simple=True)

    def local(self, name: str) -> str:
        """Return the Python variable of a template's variable; names of templates may have hyphens."""
        return self.locals.setdefault(name, f"v{len(self.locals)}")

    def input_member(self, reference: Reference) -> Code:
        match reference.steps[:1]:
            case (Property("body"),):
                self.uses_body = True
                return Code("inp.body", "str", certain=True, simple=True)
            case (Call("params", ()),):
                return Code("inp.params", "params", certain=True, simple=True)
            case (Call("params", (name,)),):
                return Code(f"inp.param({self.value(name).text})", "str", certain=True)
            case (Call("path" | "json" as member, (path,)),):
                self.uses_body = True
                code = self.value(path)
                if isinstance(code.constant, str):
                    self.check(reference, json_path, code.constant)
                return Code(
                    f"inp.{member}({code.text})", "str" if member == "json" else "any", certain=member == "json"
                )
        raise self.unsupported("$input has body, json(path), path(path), params() and params(name)", reference)

    def util_member(self, reference: Reference) -> Code:
        match reference.steps[:1]:
            case (Call(name, (argument,)),) if name in UTIL:
                code = self.value(argument)
                of_string = code.kind == "str" and code.certain
                function = f"{'s' if of_string else 'u'}_{name}"
                self.namespace[function] = (STRING_UTIL if of_string else UTIL)[name]
                certain = of_string and name != "parseJson"
                return Code(f"{function}({code.text})", "str" if certain else "any", certain=certain)
        raise self.unsupported(f"$util has {', '.join(UTIL)}, each of one argument", reference)

    def context_member(self, reference: Reference) -> Code:
        match reference.steps:
            case (Property("identity"), Property(name), *_) if name in names.IDENTITY:
                return Code("context['identity']", "map", certain=True, simple=True)
            case (Property("requestTimeEpoch"), *_):
                return Code("context['requestTimeEpoch']", "int", certain=True, simple=True)
            case (Property(name), *_) if name in names.CONTEXT:
                return Code(f"context[{name!r}]", "str", certain=True, simple=True)
        raise self.unsupported("this member of $context is not supported here", reference)

    def foreach_member(self, reference: Reference) -> Code:
        match reference.steps[:1]:
            case (Property(name),) if name in _LOOP and self.loops:
                self.counted_loops.add(self.loops[-1])
                form, kind = _LOOP[name]
                return Code(form.format(self.loops[-1]), "int" if kind == "int" else "bool", certain=True, simple=True)
        raise self.unsupported(f"$foreach has {', '.join(_LOOP)}, inside a loop", reference)

    # --- steps

    def step(self, code: Code, step: Property | Call | Index, reference: Reference) -> Code:
        if isinstance(step, Property):
            return self.property(code, step.name, reference)
        if isinstance(step, Index):
            return Code(f"get_index({code.text}, {self.value(step.index).text})")
        return self.call(code, step, reference)

    def property(self, code: Code, name: str, reference: Reference) -> Code:
        if name in _GETTERS:
            raise self.unsupported(f".{name}", reference)
        if code.kind == "params":
            if name not in ("path", "querystring", "header"):
                raise self.unsupported("$input.params() has path, querystring and header", reference)
            return Code(f"{code.text}[{name!r}]", "map", certain=True, simple=True)
        if code.kind == "map" and code.certain:
            return Code(f"{code.text}.get({name!r})", "str", simple=True)
        return Code(f"get_property({code.text}, {name!r})", simple=code.simple)

    def call(self, code: Code, call: Call, reference: Reference) -> Code:
        arguments = [self.value(argument) for argument in call.arguments]
        if code.kind == "map" and code.certain:
            match call.name, arguments:
                case "get", [Code(kind="str") as key]:
                    return Code(f"{code.text}.get({key.text})", "str", simple=code.simple and key.simple)
                case "keySet", []:
                    return Code(f"{code.text}.keys()", "keys", certain=True, simple=True)
        method = find_method(call.name, len(arguments))
        if method is None:
            raise self.unsupported(f"the method .{call.name} with {len(arguments)} arguments", reference)
        self.check_regex(call.name, arguments, reference)
        function = f"m_{call.name}_{len(arguments)}"
        self.namespace[function] = method
        kind: ValueKind = "any"
        if code.kind == "str" and code.certain and all(each.kind == "str" and each.certain for each in arguments):
            kind = _STRING_RESULTS.get(call.name, "any")
        return Code(self.invocation(function, code, arguments), kind, certain=kind != "any")

    def invocation(self, function: str, receiver: Code, arguments: list[Code]) -> str:
        given = [each.text for each in arguments]
        if receiver.certain or all(each.simple for each in arguments):
            return f"{function}({', '.join([receiver.text, *given])})"
        # Velocity leaves the arguments alone when there is nothing to call.
        held = self.temporary()
        return f"(None if ({held} := {receiver.text}) is None else {function}({', '.join([held, *given])}))"

    def check_regex(self, method: str, arguments: list[Code], reference: Reference) -> None:
        if method not in ("matches", "replaceAll", "split") or not isinstance(arguments[0].constant, str):
            return
        self.check(reference, java_pattern, arguments[0].constant)
        if method == "replaceAll" and isinstance(arguments[1].constant, str):
            self.check(reference, java_replacement, arguments[1].constant, java_pattern(arguments[0].constant).groups)

    # --- helpers

    def check(self, reference: Reference, function: Callable[..., object], *arguments: object) -> None:
        try:
            function(*arguments)
        except java.RenderError as error:
            raise self.unsupported(str(error), reference) from error

    def temporary(self) -> str:
        self._temporaries += 1
        return f"t{self._temporaries}"

    def unsupported(self, complaint: str, reference: Reference) -> TemplateUnsupported:
        return TemplateUnsupported(
            f"{complaint}, in {reference.literal!r}",
            template=self.name,
            line=reference.location.line,
            column=reference.location.column,
        )
