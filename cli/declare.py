"""``python -m weir.cli.declare PACKAGE FOLDER``: import business code, check it, and print its tables as JSON.

A process of its own, so that code which changes can be read again and again, and does no harm if it is broken. The
compiled sources lie beside the package.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from weir.cli.exit_codes import BAD_ANSWER
from weir.cli.output import emit_json
from weir.consumers import checks
from weir.consumers.business import effects
from weir.ingest.errors import ServiceError
from weir.ingest.sources.catalogue import parse_compiled


def declared(package: str, folder: Path) -> list[dict[str, Any]]:
    """Return the tables of a package, each as the fields of a `TableResource`. Raises: EffectsInvalid."""
    effects.load(package, folder)
    checks.check(parse_compiled((folder / "sources.json").read_bytes()))
    return [
        {
            "name": name,
            "described": table.described(),
            "billing": table.billing,
            "existing": table.existing,
            "real_name": table.real_name,
        }
        for name, table in effects.tables().items()
    ]


def main() -> None:
    """Print the tables, or what is wrong."""
    try:
        found = declared(sys.argv[1], Path(sys.argv[2]))
    except ServiceError as error:
        emit_json({"problem": error.detail})
        sys.exit(BAD_ANSWER)
    emit_json(found)


if __name__ == "__main__":
    main()
