"""The presets: one YAML file per provider under ``presets/``, read only when it is asked for."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from weir.ingest.errors import CatalogueInvalid
from weir.ingest.sources.catalogue import Preset

_HERE = Path(__file__).parent / "presets"


def names() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


@lru_cache(maxsize=256)
def preset(name: str) -> Preset:
    """Return a preset. Raises: CatalogueInvalid that lists near names if there is none."""
    return Preset.model_validate(_raw(name))


def all_presets() -> dict[str, Preset]:
    """Return every preset by name."""
    return {name: preset(name) for name in names()}


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the members of ``over`` in place of its own."""
    return {**base, **over}


def _raw(name: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - the function does not ship YAML

    if name not in names():
        raise CatalogueInvalid(f"The preset {name!r} does not exist.{_near(name)}")
    text = (_HERE / f"{name}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders
    base = found.pop("extends", None)
    return {**_raw(base), **found} if base else found


def _near(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(name, names(), n=3)
    return f" Did you mean {' or '.join(near)}?" if near else " `weir sources presets` lists them."
