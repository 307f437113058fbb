"""Bodies as text: UTF-8 as a rule, and what senders send instead of it.

JSON is UTF-8 by RFC 8259; RFC 4627 of before allowed UTF-16 and UTF-32, told by the zeros among the first four bytes.
"""

from __future__ import annotations

import json
import re

UTF8_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")

_CHARSET = re.compile(r"""charset=["']?([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
# What a delivery may name: each takes linear time, and no name makes Python look for a module.
_KNOWN = frozenset(
    {
        *("iso-8859-1", "latin1", "iso-8859-2", "iso-8859-15", "windows-1250", "windows-1251", "windows-1252"),
        *("shift_jis", "euc-jp", "euc-kr", "gbk", "gb18030", "big5"),
    }
)


def is_wide(body: bytes) -> bool:
    """Tell whether a text body has two or four bytes a character, by its byte order mark or its zeros."""
    return body.startswith(_WIDE_MARKS) or b"\0" in body[:4]


def is_marked(body: bytes) -> bool:
    """Tell whether a body begins with a byte order mark, or with the zeros of a text without one."""
    return body.startswith(UTF8_MARK) or is_wide(body)


def text_of_body(body: bytes, content_type: str = "") -> str:
    """Return a body as text, without its byte order mark.

    What is not UTF-8 is read in the charset that ``content_type`` names, if it is a known one. Raises: ValueError.
    """
    if is_wide(body):
        return body.decode(json.detect_encoding(body))
    try:
        return body.removeprefix(UTF8_MARK).decode("utf-8")
    except UnicodeDecodeError:
        named = _CHARSET.search(content_type)
        if named is None or named[1].lower() not in _KNOWN:
            raise
        return body.decode(named[1].lower())
