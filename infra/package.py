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
from collections.abc import Iterator, Sequence
from pathlib import Path

from weir.infra import CODE, reach, template
from weir.infra.business import Business
from weir.ingest.errors import StackFailed

REQUIREMENTS = Path(__file__).parent / "requirements"
PYTHON_VERSION = "3.13"  # the template's Runtime
_PLATFORMS = {"arm64": "aarch64", "x86_64": "x86_64"}
# Lambda's python3.13 runs on Amazon Linux 2023, whose glibc is 2.34.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
_MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(.*(?:\n[ #].*)*)", re.MULTILINE)  # a name, and lines indented below
_ABSENT = re.compile(r"No matching distribution found for (\S+)")
# What Lambda's Python has by itself, and Weir, which is there as its files.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
_RUNTIME = {"boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "urllib3", "weir-webhooks"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(
    sources_json: str,
    *,
    architecture: str,
    cache: Path,
    requirements: tuple[str, ...] = (),
    business: Business | None = None,
) -> bytes:
    """Return the package as the bytes of a zip.

    ``architecture`` is Lambda's word, arm64 or x86_64; ``requirements`` names lock files beside ``function.txt``.
    ``business`` is the project's own code, with the lock file of what that needs.

    Raises: StackFailed when a wheel cannot be downloaded, a kept one is not what its lock file pins, or the project's
    files or pins do not go with Weir's own.
    """
    business = business or Business()
    held = {"sources.json": sources_json.encode("utf-8"), **dict(_own_files())}
    locks = [(REQUIREMENTS / name).read_text(encoding="utf-8") for name in ("function.txt", *requirements)]
    own = _own_lock(business.lock, locks) if business.lock else ""
    for lock in (*locks, own):
        for _, wheel in _downloaded(lock, architecture, cache):
            held |= _wheel_files(wheel)
    if business.package and business.package in {name.partition("/")[0].removesuffix(".py") for name in held}:
        raise StackFailed(f"The package {business.package} has the name of one that the function has. Rename it.")
    return _zip(held | dict(business.files()))


def dependencies(
    business: Business, requirements: tuple[str, ...], *, architecture: str, cache: Path
) -> dict[str, int]:
    """Return what the project's own lock file adds to the package: bytes, unpacked, by name and version.

    Raises: StackFailed as `build` does.
    """
    if business.lock is None:
        return {}
    locks = [(REQUIREMENTS / name).read_text(encoding="utf-8") for name in ("function.txt", *requirements)]
    found = _downloaded(_own_lock(business.lock, locks), architecture, cache)
    return {name: sum(map(len, _wheel_files(wheel).values())) for name, wheel in found}


def entries() -> list[str]:
    """Return the modules that the template's functions name as their handlers."""
    functions = [one for one in template.load()["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    return sorted({str(function["Properties"]["Handler"]).rpartition(".")[0] for function in functions})


def _own_files() -> Iterator[tuple[str, bytes]]:
    for path in reach.files(CODE, entries()):
        yield path.as_posix(), (CODE / path).read_bytes()


def _downloaded(lock: str, architecture: str, cache: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and version, and the content, of each wheel that a lock file's text pins."""
    if _PIN.search(lock) is None:
        return
    digest = hashlib.sha256(lock.encode("utf-8")).hexdigest()[:16]
    folder = cache / f"wheels-{architecture}-{digest}"
    if not (folder / "complete").exists():
        _download(lock, architecture, folder)
    yield from _pinned(lock, folder)


def _download(lock: str, architecture: str, folder: Path) -> None:
    """Download what a lock file's text pins, once for each content and platform."""
    folder.mkdir(parents=True, exist_ok=True)
    pins = folder / "requirements.txt"
    pins.write_text(lock, encoding="utf-8")
    machine = _PLATFORMS[architecture]
    platforms = [f"--platform={base}_{machine}" for base in _MANYLINUX]
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--require-hashes", "--implementation=cp"),
        *(f"--python-version={PYTHON_VERSION}", *platforms, f"--dest={folder}", f"--requirement={pins}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no message"]
        if absent := _ABSENT.search(done.stderr):
            raise StackFailed(
                f"{absent[1]} does not exist, or has no wheel for Python {PYTHON_VERSION} on Linux {machine}, and the "
                "function's package is made of wheels alone. Pin a version that has one, take the other Architecture, "
                "or do without it."
            )
        raise StackFailed(f"The function's wheels could not be downloaded: {said[0]}", folder=str(folder))
    (folder / "complete").touch()


def _own_lock(path: Path, locks: Sequence[str]) -> str:
    """Return the part of a project's lock file that neither Weir's locks nor Lambda's Python has already.

    Raises: StackFailed when it cannot be read, pins without hashes, or pins another version than Weir does.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StackFailed(f"tool.weir.lock: {path} cannot be read: {error.strerror}.") from error
    known = {_plain(pin[1]): pin[2].split()[0] for lock in locks for pin in _PIN.finditer(lock)}
    kept = []
    for pin in _PIN.finditer(text):
        name, version = _plain(pin[1]), pin[2].split()[0]
        if known.get(name, version) != version:
            raise StackFailed(
                f"{path.name} pins {name} {version}, and the function has {known[name]}: add {name}=={known[name]} to "
                "what the lock file is made from, and make it again."
            )
        if not _HASH.search(pin[0]):
            raise StackFailed(f"{path.name} pins {name} without hashes: make it with `pip-compile --generate-hashes`.")
        if name not in known and name not in _RUNTIME:
            kept.append(pin[0])
    return "\n".join(kept) + "\n" if kept else ""


def _pinned(lock: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each wheel that a lock file's text pins, compared with its hash: the folder is one to write to.

    Raises: StackFailed for one that is missing, another one, or one too many.
    """
    pins = {_plain(name): (hashes.split()[0], set(_HASH.findall(hashes))) for name, hashes in _PIN.findall(lock)}
    for path in sorted(folder.glob("*.whl")):
        content = path.read_bytes()
        name = _plain(path.name.partition("-")[0])
        version, hashes = pins.pop(name, ("", set()))
        if hashlib.sha256(content).hexdigest() not in hashes:
            raise StackFailed(f"{path} is not the file that its lock file pins. Delete {folder} and try again.")
        yield f"{name} {version}", content
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
