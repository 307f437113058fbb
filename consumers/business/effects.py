"""Business code: what an event changes, as functions that make no call, in a package of the project's own.

    @effect("stripe", "charge.*")
    def book(event: Event) -> Iterable[Change]:
        return [Update(balances, {"account": ...}, add={"EUR": 100})]

An effect is found by its source's own name first, then by the preset behind it; among patterns the one with the longest
literal text wins, an exact type before all. Returning no change is applied too; raising `EventRejected` quarantines.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

from weir.consumers.business.changes import Change
from weir.consumers.business.tables import Table
from weir.ingest.errors import EffectsInvalid, TableInvalid
from weir.ingest.sources.events import Event

Effect: TypeAlias = Callable[[Event[Any]], Iterable[Change]]
E = TypeVar("E", bound=Callable[..., Iterable[Change]])

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Registration:
    """One effect: whose events it wants, a source's name or a preset's, and of which types."""

    owner: str
    pattern: str
    function: Callable[..., Iterable[Change]]
    run: Effect

    def rank(self) -> tuple[bool, int]:
        """Return what compares greater for the more specific pattern."""
        return not _WILD.search(self.pattern), len(_WILD.sub("", self.pattern))

    @property
    def name(self) -> str:
        """Return module and name of the function."""
        return f"{self.function.__module__}.{getattr(self.function, '__qualname__', self.function)}"


_registrations: dict[tuple[str, str], Registration] = {}
# The package that is loaded, "" for none; None before anything was asked for.
_loaded: str | None = None
_loaded_from: Path | None = None


def effect(source_or_preset: str, type_glob: str) -> Callable[[E], E]:
    """Register a function for the events of a source, or of all sources of a preset, whose type matches.

    Where the function's event is annotated as ``Event[Model]`` with a pydantic model, its payload is one: what does not
    fit is quarantined as ``event_malformed``. A TypedDict there costs nothing and checks nothing at run time.

    Raises: EffectsInvalid when two functions claim the same.
    """

    def register(function: E) -> E:
        made = Registration(source_or_preset, type_glob, function, _typed(function))
        known = _registrations.setdefault((source_or_preset, type_glob), made)
        if known.function is not function:
            raise EffectsInvalid(f"Two effects claim {source_or_preset} {type_glob}: {known.name} and {made.name}.")
        find.cache_clear()
        return function

    return register


@lru_cache(maxsize=4096)
def find(source: str, preset: str, event_type: str) -> Effect | None:
    """Return the effect that wants such events; None if none does."""
    for owner in dict.fromkeys((source, preset)):
        wanting = [entry for entry in _registrations.values() if entry.owner == owner and _matches(entry, event_type)]
        if wanting:
            return max(wanting, key=Registration.rank).run
    return None


def demand_loaded() -> None:
    """Refuse to judge events before `load`, since each would be ignored. Raises: EffectsInvalid."""
    if _loaded is None:
        raise EffectsInvalid("No business code was loaded.")


def registered() -> list[Registration]:
    """Return the effects of the loaded package, by owner and pattern."""
    return [one for key, one in sorted(_registrations.items()) if _is_of(one, _loaded or "")]


def tables() -> dict[str, Table]:
    """Return the tables that the modules of the loaded package declare at their top level, by logical name.

    Raises: EffectsInvalid when two declarations of one name differ.
    """
    found: dict[str, Table] = {}
    for module in modules():
        for value in vars(module).values():
            if not isinstance(value, Table):
                continue
            if vars(found.setdefault(str(value), value)) != vars(value):
                raise EffectsInvalid(f"{module.__name__} declares the table {str(value)!r} again, and otherwise.")
    return dict(sorted(found.items()))


def modules() -> list[ModuleType]:
    """Return the modules of the loaded package, by name."""
    return _modules(_loaded or "")


def load(package: str, folder: Path | None = None) -> None:
    """Import every module of a package that lies in a folder, in the place of the one before; ``""``: no business code.

    Only this one name is taken from the folder, so that nothing else beside it can stand in for another import.

    Raises: EffectsInvalid, so that no event pays for a file that is broken.
    """
    global _loaded, _loaded_from
    if (package, folder) == (_loaded, _loaded_from):
        return
    unload()
    try:
        if package:
            _import(package, folder)
    except BaseException:
        _forget(package)
        raise
    _loaded, _loaded_from = package, folder


def unload() -> None:
    """Forget the package, so that the next `load` reads it anew."""
    global _loaded  # noqa: PLW0603 - see `load`
    _forget(_loaded or "")
    _loaded = None


def _import(package: str, folder: Path | None) -> None:
    name = package
    try:
        top = sys.modules.get(package) or _import_top(package, folder)
        for module in pkgutil.walk_packages(getattr(top, "__path__", []), f"{package}.", onerror=_raise):
            name = module.name
            import_module(name)
    except EffectsInvalid:
        raise
    except TableInvalid as error:
        raise EffectsInvalid(f"{_where(error, folder) or name}: {error.detail}") from error
    except (Exception, SystemExit) as error:
        raise EffectsInvalid(f"{_where(error, folder) or name}: {type(error).__name__}: {error}") from error


def _import_top(package: str, folder: Path | None) -> ModuleType:
    if folder is None:
        return import_module(package)
    candidates = (folder / package / "__init__.py", folder / f"{package}.py")
    path = next((one for one in candidates if one.is_file()), None)
    if path is None:
        raise EffectsInvalid(f"There is no package {package} in {folder}: {candidates[0]} does not exist.")
    inside = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(package, path, submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise EffectsInvalid(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
    return module


def _raise(_: str) -> None:
    raise  # noqa: PLE0704 - walk_packages calls this within its `except`


def _where(error: BaseException, folder: Path | None) -> str:
    """Return file and line of the project's own code that failed to be imported; empty if none did."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    found, frame = "", error.__traceback__
    while frame is not None:
        path = frame.tb_frame.f_code.co_filename
        if folder is not None and Path(path).is_relative_to(folder):
            found = f"{path}:{frame.tb_lineno}"
        frame = frame.tb_next
    return found


def _modules(package: str) -> list[ModuleType]:
    names = sorted(name for name in sys.modules if package and (name == package or name.startswith(f"{package}.")))
    return [sys.modules[name] for name in names]


def _forget(package: str) -> None:
    for module in _modules(package):
        del sys.modules[module.__name__]
    for key, one in list(_registrations.items()):
        if _is_of(one, package):
            del _registrations[key]
    find.cache_clear()


def _is_of(registration: Registration, package: str) -> bool:
    module = registration.function.__module__
    return bool(package) and (module == package or module.startswith(f"{package}."))


def _matches(registration: Registration, event_type: str) -> bool:
    return _compiled(registration.pattern).match(event_type) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def _typed(function: Callable[..., Iterable[Change]]) -> Effect:
    """Return the function, or what gives it its model first if its event's annotation names one."""
    if "Event[" not in str(next(iter(getattr(function, "__annotations__", {}).values()), "")):
        return function
    from weir.consumers.business.models import with_model  # noqa: PLC0415 - only few need typing's and pydantic's parts

    return with_model(function)
