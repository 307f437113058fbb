"""Secrets for trying things out: made here, given to a source that has none, and remembered as far as signing needs it.

Where provider and source hold different halves of a key pair, the source's store has the half that verifies. The other
half is kept in a file of the state folder, readable by its owner alone, so that `weir send` can sign.
"""

from __future__ import annotations

import json
import secrets as entropy
from pathlib import Path

from weir.infra import secrets
from weir.infra.place import Place
from weir.ingest.errors import SecretUnset, StackFailed
from weir.ingest.schemes import signatures
from weir.ingest.sources.catalogue import Source


def provide(place: Place, source: Source) -> bool:
    """Give a source that has no secret one to try things out with; return whether it had none.

    Raises: StackFailed when the store does not answer.
    """
    if secrets.live(place, source):
        return False
    pair = signatures.generate_secret(source.scheme, entropy.token_bytes(32))
    secrets.add(place, source, pair.verify_with)
    if pair.sign_with != pair.verify_with:
        _keep(place, source.name, pair.sign_with)
    return True


def signing_key(place: Place, source: Source) -> str:
    """Return what deliveries of a source can be signed with.

    Raises: SecretUnset when there is none.
    """
    live = secrets.live(place, source)
    if not live:
        raise SecretUnset(f"{source.name} has no secret in {place.label}.")
    return _kept(place).get(source.name) or live[0].value


def _file(place: Place) -> Path | None:
    if given := place.outputs().signing_file:
        return given
    return None if place.home is None else place.home / f"signing-{place.kind}-{place.stack}.json"


def _kept(place: Place) -> dict[str, str]:
    path = _file(place)
    if path is None or not path.exists():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _keep(place: Place, source: str, key: str) -> None:
    path = _file(place)
    if path is None:
        raise StackFailed(f"There is no folder for the signing half of {source}'s key pair: set WEIR_HOME.")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({**_kept(place), source: key}, indent=1), encoding="utf-8")
    draft.replace(path)
