"""When the files of a project change: read and check them, and take the new version or say what is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from weir.infra import Say
from weir.infra.business import Business
from weir.infra.local import version
from weir.infra.local.version import Inputs, ProjectFiles
from weir.ingest.errors import ServiceError
from weir.ingest.sources.catalogue import Catalogue

_LOOK_S = 0.5
# An editor may write a file in several steps: a change is taken when nothing has changed since the last look.
Stamp = tuple[tuple[str, int, int], ...]


class Reload:
    """Looks at a project's files every half second, and gives what has changed to ``take``.

    ``take`` raises a ServiceError when it cannot take what was read; what ran before then goes on.
    """

    def __init__(
        self, home: Path, files: ProjectFiles, running: Inputs, take: Callable[[Inputs], Awaitable[None]], say: Say
    ) -> None:
        self._home, self._files, self._take, self._say = home, files, take, say
        self._running = running
        self._seen = self._done = _stamp(files)
        self._look_at_s = 0.0
        self._changing: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Begin to take what has changed, if it is time to look and nothing is being taken; never waits for that."""
        if self._changing is not None:
            if not self._changing.done():
                return
            if error := self._changing.exception():
                self._say(f"not taken, what ran before runs on: {error!r}")
            self._changing = None
        if time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + _LOOK_S
        before, self._seen = self._seen, await asyncio.to_thread(_stamp, self._files)
        if self._seen not in (self._done, ()) and self._seen == before:
            self._done = self._seen
            self._changing = asyncio.create_task(self._change())

    async def stop(self) -> None:
        """Take nothing more."""
        if self._changing is not None:
            self._changing.cancel()
            await asyncio.wait([self._changing])

    async def _change(self) -> None:
        try:
            found = await asyncio.to_thread(self._files.read, self._copy)
            if found == self._running:
                return
            await self._take(found)
        except ServiceError as error:
            first, *more = error.advice.splitlines()
            for line in (f"not taken, what ran before runs on: {first}", *more):
                self._say(line)
            return
        changed = _changed(self._running, found)
        if found.given != self._running.given:
            self._say("parameters changed: they count from the next start")
        self._running = found
        self._say(f"taken: {', '.join(changed)}" if changed else "taken")

    def _copy(self, business: Business, catalogue: Catalogue) -> Path:
        return version.copy_into(self._home, business, catalogue)


def _changed(before: Inputs, now: Inputs) -> list[str]:
    """Name what differs, for a person."""
    tables = {table.name for table in now.business.tables} - {table.name for table in before.business.tables}
    sources = sorted(set(now.catalogue) ^ set(before.catalogue))
    found = [f"table {name}" for name in sorted(tables)]
    found += [f"source {name}" for name in sources]
    if not sources and now.catalogue.dump() != before.catalogue.dump():
        found.append("sources")
    if dict(now.business.files()) != dict(before.business.files()):
        found.append("business code")
    return found


def _stamp(files: ProjectFiles) -> Stamp:
    """Return names, sizes and times of the files; a file that is not there now is left out."""
    found = []
    for path in files.paths():
        try:
            facts = path.stat()
        except OSError:
            continue
        found.append((str(path), facts.st_size, facts.st_mtime_ns))
    return tuple(sorted(found))
