"""The functions' package: what their entries reach, the compiled sources and pinned wheels for Lambda's platform.

Small (boto3 is the runtime's own) and reproducible: the same tree and lock give the same bytes, so that its name can
follow its content.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from weir.infra import CODE, reach, template
from weir.ingest.errors import StackFailed

REQUIREMENTS = Path(__file__).parent / "requirements"
PYTHON_VERSION = "3.13"  # the template's Runtime
_PLATFORMS = {"arm64": "aarch64", "x86_64": "x86_64"}
# Lambda's python3.13 runs on Amazon Linux 2023, whose glibc is 2.34.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
_MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(.*(?:\n[ #].*)*)", re.MULTILINE)  # a name, and lines indented below
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(sources_json: str, *, architecture: str, cache: Path, requirements: tuple[str, ...] = ()) -> bytes:
    """Return the package as the bytes of a zip.

    ``architecture`` is Lambda's word, arm64 or x86_64; ``requirements`` names lock files beside ``function.txt``.

    Raises: StackFailed when a wheel cannot be downloaded, or a kept one is not what its lock file pins.
    """
    held = {"sources.json": sources_json.encode("utf-8"), **dict(_own_files())}
    for lock in ("function.txt", *requirements):
        path = REQUIREMENTS / lock
        for wheel in _pinned(path, _wheels(path, architecture, cache)):
            held |= _wheel_files(wheel)
    return _zip(held)


def entries() -> list[str]:
    """Return the modules that the template's functions name as their handlers."""
    functions = [one for one in template.load()["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    return sorted({str(function["Properties"]["Handler"]).rpartition(".")[0] for function in functions})


def _own_files() -> Iterator[tuple[str, bytes]]:
    for path in reach.files(CODE, entries()):
        yield path.as_posix(), (CODE / path).read_bytes()


def _wheels(lock: Path, architecture: str, cache: Path) -> Path:
    """Download what a lock file pins, once for each content and platform."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder = cache / f"wheels-{lock.stem}-{architecture}-{digest}"
    if (folder / "complete").exists():
        return folder
    machine = _PLATFORMS[architecture]
    platforms = [f"--platform={base}_{machine}" for base in _MANYLINUX]
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--require-hashes", "--implementation=cp"),
        *(f"--python-version={PYTHON_VERSION}", *platforms, f"--dest={folder}", f"--requirement={lock}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise StackFailed(f"The function's wheels could not be downloaded: {said[0]}", lock=lock.name)
    (folder / "complete").touch()
    return folder


def _pinned(lock: Path, folder: Path) -> Iterator[bytes]:
    """Yield the content of each wheel that a lock file pins, compared with its hash: the folder is one to write to.

    Raises: StackFailed for one that is missing, another one, or one too many.
    """
    pins = {_plain(name): set(_HASH.findall(hashes)) for name, hashes in _PIN.findall(lock.read_text(encoding="utf-8"))}
    for path in sorted(folder.glob("*.whl")):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() not in pins.pop(_plain(path.name.partition("-")[0]), ()):
            raise StackFailed(f"{path} is not the file that {lock.name} pins. Delete {folder} and try again.")
        yield content
    if pins:
        raise StackFailed(f"{folder} lacks {', '.join(sorted(pins))}. Delete it and try again.")


def _plain(name: str) -> str:
    """Return a distribution's name in the one spelling that all of its spellings have.

    Source: https://packaging.python.org/en/latest/specifications/name-normalization/
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _wheel_files(wheel: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if not name.endswith("/") and ".dist-info/" not in name.removesuffix("/METADATA")
        }


def _zip(held: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(held):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, held[name])
    return buffer.getvalue()
