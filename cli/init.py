"""`weir init`."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import click

from weir.cli.framework import Command, NoAnswer
from weir.cli.output import emit

_TEMPLATE = Path(__file__).parents[1] / "examples" / "new_project"
# Where each file goes. In names and texts, what stands for the project's own is replaced (`_filled`).
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "sources.yaml": "sources.yaml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "deploy.yml": ".github/workflows/deploy.yml",
    "mypackage/__init__.py": "mypackage/__init__.py",
    "mypackage/orders.py": "mypackage/orders.py",
    "tests/test_orders.py": "tests/test_orders.py",
}


@click.command(cls=Command)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--package", metavar="NAME", help="Package of the business code. Default: the folder's name.")
def init(folder: Path, package: str | None) -> None:
    """Begin a project in FOLDER: sources, business code with its table and its test, settings, CI.

    \b
    weir init shop && cd shop
    """
    name = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
        raise click.BadParameter(f"{folder.name!r} does not begin with a letter, or is too long.", param_hint="FOLDER")
    chosen = package or name.replace("-", "_")
    _check_package(chosen)
    made = {folder / _filled(target, name, chosen): source for source, target in _FILES.items()}
    if there := [path for path in made if path.exists()]:
        raise NoAnswer(f"{there[0]} exists already.\n  Nothing was written. Choose another folder, or remove the file.")
    for path, source in made.items():
        text = (_TEMPLATE / source).read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled(text, name, chosen), encoding="utf-8")
        path.chmod(0o644)
        emit(f"wrote {path}")
    emit(f"next: cd {folder} && pip install -e '.[test]' && pytest && weir run")


def _filled(text: str, name: str, package: str) -> str:
    marks = {"myproject": name, "mypackage": package, ">=0.0.0": f"=={version('weir-webhooks')}"}
    for mark, value in marks.items():
        text = text.replace(mark, value)
    return text


def _check_package(name: str) -> None:
    """Raises: BadParameter for a name that cannot be imported, or that is another package's."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise click.BadParameter(f"{name!r} cannot be the name of a package.", param_hint="--package")
    if name == "weir" or name in sys.stdlib_module_names or name == "tests":
        raise click.BadParameter(f"{name!r} is the name of another package. Choose one with --package.")
    found = find_spec(name)
    if found is not None and "site-packages" in str(found.origin):
        raise click.BadParameter(f"{name!r} is an installed package. Choose another name with --package.")
