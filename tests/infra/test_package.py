"""The function's package: reproducible, small, complete without boto3 and aiohttp."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from weir.infra import package
from weir.ingest.errors import StackFailed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    cache = tmp_path_factory.mktemp("wheels")
    first = package.build('{"sources": 1}', architecture="arm64", cache=cache)
    return first, package.build('{"sources": 1}', architecture="arm64", cache=cache)


def test_same_content_gives_the_same_bytes(built: tuple[bytes, bytes]) -> None:
    """Two builds of one tree are equal, so a key that follows the content changes only with it."""
    assert built[0] == built[1]


def test_package_is_small_and_has_what_it_needs(built: tuple[bytes, bytes]) -> None:
    """Under 6 MB; our rooms, the sources and the pinned libraries are in; boto3, aiohttp and samples are not."""
    names = zipfile.ZipFile(io.BytesIO(built[0])).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert len(built[0]) < 6_000_000
    assert {
        "sources.json",
        "weir",
        "pydantic",
        "aws_kinesis_agg",
        "aws_embedded_metrics",
        "google",
    } <= tops
    assert not {"boto3", "botocore", "aiohttp", "tests"} & tops
    assert not [
        name
        for name in names
        if "__pycache__" in name
        or name.startswith(("weir/infra", "weir/loadtest", "weir/cli", "weir/ingest/sources/samples"))
    ]
    assert [name for name in names if name.endswith("aarch64-linux-gnu.so")]


def test_wheel_that_cannot_be_had_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that cannot be downloaded gives pip's last sentence, not a traceback."""
    (tmp_path / "function.txt").write_text("no-such-package==1.0 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setattr(package, "REQUIREMENTS", tmp_path)
    with pytest.raises(StackFailed, match="wheels could not be downloaded"):
        package.build("{}", architecture="arm64", cache=tmp_path)
