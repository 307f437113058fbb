"""Handshakes that API Gateway answers alone: questions in a query parameter or header, as mapping templates.

A question under GET, HEAD or OPTIONS has a mock integration. One under POST shares its method with the deliveries,
whose integration is Kinesis, and a template cannot choose another: it sends Kinesis ``{}``, which Kinesis refuses, so
that nothing is stored, and the template of the refusal gives the answer. That costs one refused call.

A value that is echoed inside JSON or in a header must be of plain characters, or the request is not taken as a
question: then it does not matter how an engine escapes, and nothing can break out. Free text is echoed as
``text/plain`` with ``nosniff``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from weir.ingest.errors import CatalogueInvalid
from weir.ingest.sources.catalogue import PLACEHOLDER, Handshake, Match, Reply

# Characters of tokens, time stamps and base64; the class means the same to Java, Python and airspeed.
_PLAIN = "[A-Za-z0-9._~:@+=,/ -]+"
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_TEXT = re.compile(r"[^$#\\'\"\n\r]*")
_SETTING = "#set($given = $input.params())#set($parameters = $given.querystring)#set($fields = $given.header)"


class Questions:
    """The questions of one source under one HTTP method, as pieces of mapping templates.

    ``condition`` tells whether one of them is asked, once ``read`` has set the variables that it names.
    Raises: CatalogueInvalid for a handshake that cannot be written as a template.
    """

    def __init__(self, handshakes: Sequence[Handshake]) -> None:
        self._variables: dict[tuple[str, str], str] = {}
        self._branches = [(self._condition(each), self._reply(each.reply)) for each in handshakes]
        self.condition = " || ".join(f"({condition})" for condition, _ in self._branches)
        self.read = _SETTING + "".join(_reading(*place, name) for place, name in self._variables.items())

    def request(self, when_asked: str, otherwise: str) -> str:
        """Return the template of a request."""
        return f"{self.read}#if({self.condition}){when_asked}#else{otherwise}#end"

    def answer(self, otherwise: str) -> str:
        """Return the template of a response: the reply to the question that is asked, else ``otherwise``."""
        directives = ["if", *["elseif"] * (len(self._branches) - 1)]
        branches = zip(directives, self._branches, strict=True)
        chosen = "".join(f"#{directive}({condition}){reply}" for directive, (condition, reply) in branches)
        return f"{self.read}{chosen}#else{otherwise}#end"

    def _condition(self, handshake: Handshake) -> str:
        reply = handshake.reply
        guarded = [*reply.headers.values(), *([] if _is_free(reply) else [reply.body])]
        places = [blank["at"] for text in guarded for blank in PLACEHOLDER.finditer(text)]
        tests = [*self._tests(handshake.match)]
        tests += [f'${self._variable(place)}.replaceAll("{_PLAIN}", "") == ""' for place in places]
        return " && ".join(dict.fromkeys(tests)) or '"" == ""'

    def _tests(self, match: Match) -> Iterator[str]:
        for kind, wanted in (("query", match.query), ("header", match.headers)):
            for name, value in wanted.items():
                variable = self._variable(f"{kind}:{name}")
                yield f'${variable} != ""' if value == "*" else f'${variable} == "{_checked(_TEXT, value)}"'

    def _variable(self, place: str) -> str:
        kind, _, name = place.partition(":")
        known = (kind, name.lower() if kind == "header" else name)
        return self._variables.setdefault(known, f"asked{len(self._variables)}")

    def _reply(self, reply: Reply) -> str:
        headers = {"Content-Type": reply.content_type}
        if _is_free(reply):
            headers["X-Content-Type-Options"] = "nosniff"
        sets = [f"#set($context.responseOverride.status = {reply.status})"]
        for name, text in (headers | reply.headers).items():
            target = f"$context.responseOverride.header.{_checked(_HEADER_NAME, name)}"
            sets.append(f'#set({target} = "{self._filled(text)}")')
        return "".join(sets) + self._filled(reply.body, quotes=True)

    def _filled(self, text: str, *, quotes: bool = False) -> str:
        pieces, at = [], 0
        for blank in PLACEHOLDER.finditer(text):
            pieces += [text[at : blank.start()], f"${{{self._variable(blank['at'])}}}"]
            at = blank.end()
        pieces.append(text[at:])
        for literal in pieces[::2]:
            _checked(_TEXT, literal.replace('"', "").replace("'", "") if quotes else literal)
        return "".join(pieces)


def constant(text: str) -> str:
    """Return a template that prints a text unchanged, even if it has characters of the template language."""
    if not text:
        return '#set($nothing = "")'  # an empty template would pass the integration's own answer on
    if not {"$", "#"} & set(text):
        return text
    spelled = re.sub(r"[$#]", lambda sign: "${dollar}" if sign[0] == "$" else "${hash}", text)
    # A line end right after a directive would be a part of it.
    return f"#set($dollar = '$')#set($hash = '#')#set($none = ''){'${none}'}{spelled}"


def _reading(kind: str, name: str, variable: str) -> str:
    if kind == "query":
        return f"#set(${variable} = \"$!parameters.get('{_checked(_TEXT, name)}')\")"
    # HTTP/2 sends header names in lower case, and the map keeps them as they came.
    found = f"#if($field.matches('(?i){_checked(_HEADER_NAME, name)}'))$!fields.get($field)#end"
    return f'#set(${variable} = "#foreach($field in $fields.keySet()){found}#end")'


def _is_free(reply: Reply) -> bool:
    return reply.content_type.startswith("text/plain")


def _checked(allowed: re.Pattern[str], text: str) -> str:
    if not allowed.fullmatch(text):
        raise CatalogueInvalid(f"A mapping template cannot hold {text!r}: change it in the source's handshakes.")
    return text
