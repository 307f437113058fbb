"""What of a project is deployed beside its sources: the business code, its tables and its own dependencies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from weir.infra.tables import TableResource

_LEFT_OUT = {"__pycache__"}


class Business(NamedTuple):
    """The package of a project, in ``folder``, its declared tables and its lock file; nothing of it by default."""

    package: str = ""
    folder: Path = Path()
    tables: Sequence[TableResource] = ()
    lock: Path | None = None

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the files of the package, by their names in the function's package."""
        if not self.package:
            return
        module = self.folder / f"{self.package}.py"
        if module.is_file():
            yield module.name, module.read_bytes()
        for path in sorted((self.folder / self.package).rglob("*")):
            inside = path.relative_to(self.folder)
            if path.is_file() and not _LEFT_OUT & set(inside.parts) and path.suffix != ".pyc":
                yield inside.as_posix(), path.read_bytes()
