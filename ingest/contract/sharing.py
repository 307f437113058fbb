"""One pair of paths for many sources: mapping templates that store only for those, and refuse any other name.

A template cannot choose another integration. For a name that it does not know it sends Kinesis ``{}``, which Kinesis
refuses, so that nothing is stored; the template of the refusal answers 404. That costs one refused call.
"""

from __future__ import annotations

from collections.abc import Sequence

SOURCE_PARAMETER = {
    "name": "source",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "One of the sources that share this path",
}
_READ = '#set($given = $input.params())#set($source = "$!given.path.get(\'source\')")#set($sources = "/{names}/")'
# The path is decoded here and may hold a slash, with which parts of the list would be found.
_KNOWN = '$source.replaceAll("[a-z0-9-]+", "") == "" && $sources.contains("/$source/")'
_NOT_FOUND = (
    "#set($context.responseOverride.status = 404)"
    '{"error":"not_found","message":"No source at this path.","id":"$context.extendedRequestId"}'
)


class Sharing:
    """The templates of the sources with these names, which are of a-z, 0-9 and hyphens."""

    def __init__(self, names: Sequence[str]) -> None:
        self._read = _READ.replace("{names}", "/".join(names))

    def request(self, put_record: str) -> str:
        """Return the template of a request: ``put_record`` with ``$source``, if it is one of these."""
        return f'{self._read}#if($source != "" && {_KNOWN}){put_record}#else{{}}#end'

    def refusal(self, otherwise: str) -> str:
        """Return the template of an answer about what was not stored: 404 to any other name, else ``otherwise``."""
        # An engine that did not know the path here would answer as it does to a source that it knows.
        return f'{self._read}#if($source == "" || ({_KNOWN})){otherwise}#else{_NOT_FOUND}#end'
