"""The wheel: one top-level name, all that its commands need, and a life of its own in a folder full of look-alikes."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

from weir.infra.local.engine.engine import free_port

ROOT = Path(__file__).parent.parent
ROOMS = ("ingest", "consumers", "operate", "infra", "loadtest", "testing", "cli")
PIP = ("-P", "-m", "pip", "--quiet", "--disable-pip-version-check")
# What is in the rooms and only a clone needs: what locks are made from, and what docker-compose.yml mounts.
ONLY_IN_A_CLONE = re.compile(r"infra/localstack/|.*/requirements/[^/]*\.in$")
SOURCES = """
shop: {preset: standard-webhooks}
"""
READY_S = 90.0


def tracked() -> list[Path]:
    """Return the files that a clone has."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a clone: git lists no files")
    return [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]


def build(tree: Path, hook: str, into: Path) -> Path:
    """Call a hook of the build backend in a tree; return what it made."""
    script = f"import sys; from setuptools import build_meta; print(build_meta.{hook}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(into)], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what is tracked, links as links: a build leaves files behind, and must not see those of an earlier one."""
    tree = tmp_path_factory.mktemp("clone")
    for path in tracked():
        if (ROOT / path).is_symlink() or (ROOT / path).exists():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, tree / path, follow_symlinks=False)
    return tree


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(clone, "build_wheel", tmp_path_factory.mktemp("dist"))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}


def test_a_single_top_level_name(wheel: Path) -> None:
    """The wheel puts nothing beside `weir` into site-packages but its own metadata, with the licence in it."""
    names = contents(wheel)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"weir"}
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    [metadata] = [content.decode() for name, content in names.items() if name.endswith(".dist-info/METADATA")]
    assert "License-Expression: Apache-2.0" in metadata
    assert "Provides-Extra: load" in metadata


def test_everything_of_the_rooms_is_in_it(wheel: Path) -> None:
    """Each tracked file of a room is in the wheel: locks, templates, presets, samples, the schema, prices."""
    folders = (*ROOMS, "examples")
    rooms = [path.as_posix() for path in tracked() if path.parts[0] in folders and (ROOT / path).exists()]
    expected = {f"weir/{path}" for path in rooms if not ONLY_IN_A_CLONE.match(path)}
    assert expected <= set(contents(wheel)), sorted(expected - set(contents(wheel)))[:20]
    assert {"weir/infra/template.yaml", "weir/infra/requirements/function.txt", "weir/infra/prices.yaml"} <= expected


def test_a_wheel_of_the_source_distribution_is_the_same(clone: Path, wheel: Path, tmp_path: Path) -> None:
    """The source distribution holds all that the wheel is made from, though the package is made of links."""
    source = build(clone, "build_sdist", tmp_path)
    shutil.unpack_archive(source, tmp_path / "unpacked", filter="data")
    [tree] = (tmp_path / "unpacked").iterdir()
    again = contents(build(tree, "build_wheel", tmp_path))
    assert set(again) == set(contents(wheel))
    assert again == contents(wheel)


class Installed(NamedTuple):
    """An environment with the wheel, and a folder that has packages of the rooms' names."""

    bin: Path
    folder: Path
    environment: dict[str, str]

    def weir(self, *arguments: str) -> str:
        """Run a command in the folder; return what it printed."""
        command = [str(self.bin / "weir"), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the lock, then the wheel alone, into an empty environment; lay out the folder."""
    place, folder = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("folder")
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    lock = ROOT / "requirements" / "run.txt"
    done = subprocess.run(
        [str(python), *PIP, "install", "--require-hashes", "--no-deps", "-r", str(lock)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no package index answers: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")
    subprocess.run([str(python), *PIP, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    for name in (*ROOMS, "weir", "yaml", "aiohttp"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('the folder\\'s own {name} was imported')\n")
    (folder / "sources.yaml").write_text(SOURCES)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEIR_", "PYTHON"))}
    environment = kept | {"PORT": str(free_port()), "WEIR_HOME": str(folder / ".weir")}
    return Installed(place / "bin", folder, environment)


@contextmanager
def running(installed: Installed) -> Iterator[subprocess.Popen[bytes]]:
    """Run `weir run` in the folder."""
    log = installed.folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(installed.bin / "weir"), "run"],
            cwd=installed.folder,
            env=installed.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        await_line(process, installed, "\nready")
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def await_line(process: subprocess.Popen[bytes], installed: Installed, text: str) -> None:
    """Wait until a running stack has said something."""
    log, deadline = installed.folder / "output", time.monotonic() + READY_S
    while text not in log.read_text(errors="replace"):
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.1)


@pytest.fixture(scope="module")
def stack(installed: Installed) -> Iterator[subprocess.Popen[bytes]]:
    """Run `weir run` in the folder until the tests are over."""
    with running(installed) as process:
        yield process


def test_version(installed: Installed) -> None:
    """`weir --version` is the distribution's version."""
    assert installed.weir("--version").split() == ["weir", version("weir-webhooks")]


def test_sources_are_those_of_the_folder(installed: Installed) -> None:
    """`weir sources check` reads the sources.yaml of the current folder."""
    assert "shop" in installed.weir("sources", "check")


def test_data_that_commands_read_is_there(installed: Installed) -> None:
    """Presets, the template's parameters and the prices are read from the wheel."""
    assert "stripe" in installed.weir("sources", "presets")
    assert "Lambda" in installed.weir("cost", "--rate", "10")


def test_a_command_that_needs_the_extra_says_so(installed: Installed) -> None:
    """Without the extra `load`, a report is refused in one sentence that names it."""
    command = [str(installed.bin / "weir"), "load", "report"]
    done = subprocess.run(
        command, cwd=installed.folder, env=installed.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "weir-webhooks[load]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stack_runs_and_takes_a_delivery(installed: Installed, stack: subprocess.Popen[bytes]) -> None:
    """`weir run` serves, `weir send` is accepted and consumed, and Ctrl-C ends all of it in good order."""
    installed.weir("secrets", "generate", "shop")
    sent = installed.weir("send", "shop", "--wait", "30")
    assert re.match(r'200 \{"id":"[^"]+"\}', sent), sent
    assert json.loads(installed.weir("events", "--json").splitlines()[0])["source"] == "shop"
    stack.send_signal(signal.SIGINT)
    assert stack.wait(60) == 0, (installed.folder / "output").read_text(errors="replace")
    connection = http.client.HTTPConnection("127.0.0.1", int(installed.environment["PORT"]), timeout=5)
    with pytest.raises(ConnectionRefusedError):
        connection.request("GET", "/")


@pytest.fixture(scope="module")
def shop(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`weir init shop` in an empty folder, with what its tests need."""
    wanted = [f"{name}=={version(name)}" for name in ("pytest", "hypothesis")]
    subprocess.run([str(installed.bin / "python"), *PIP, "install", *wanted], check=True, capture_output=True)
    above = tmp_path_factory.mktemp("projects")
    outside = Installed(installed.bin, above, {**installed.environment, "WEIR_HOME": "", "PORT": str(free_port())})
    assert "next: cd shop" in outside.weir("init", "shop")
    return outside._replace(folder=above / "shop")


def test_a_new_project_s_tests_pass(shop: Installed) -> None:
    """What `weir init` wrote is complete: its own tests pass as they are."""
    command = [str(shop.bin / "python"), "-m", "pytest", "-q"]
    done = subprocess.run(command, cwd=shop.folder, env=shop.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_a_new_project_is_not_written_over(shop: Installed) -> None:
    """A file that is there is named, and nothing is written."""
    done = subprocess.run(
        [str(shop.bin / "weir"), "init", str(shop.folder)],
        env=shop.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "exists already" in done.stderr


def test_a_new_project_stores_an_order(shop: Installed) -> None:
    """A signed order of Shopify is in the project's own table, and a replay shows what changed code would write."""
    with running(shop) as stack:
        assert shop.weir("send", "shopify", "--wait", "30").splitlines()[-1].strip() == "applied"
        [order] = [json.loads(line) for line in shop.weir("items", "orders", "--json").splitlines()]
        assert (order["currency"], order["status"]) == ("EUR", "paid")
        code = shop.folder / "shop" / "orders.py"
        code.write_text(code.read_text().replace('"status": order["financial_status"]', '"state": "paid"'))
        await_line(stack, shop, "taken: business code")
        # The mark of the order says that it is applied, so that only what would be new is shown as a difference.
        said = shop.weir("replay", "--from", "stream", "--dry-run", "--diff")
        assert "already applied             1" in said, said
        assert 'state="paid"' in said, said
        shop.weir("send", "shopify", "--wait", "30")
        rows = [json.loads(line) for line in shop.weir("items", "orders", "--json").splitlines()]
        assert {row["state"] for row in rows if "state" in row} == {"paid"}
        assert json.loads(shop.weir("account", "--json", "--grace", "0s"))["unaccounted"] == 0


def test_python_dash_m_is_the_command(installed: Installed) -> None:
    """`python -m weir` outside of the folder is the same command."""
    command = [str(installed.bin / "python"), "-m", "weir", "--version"]
    done = subprocess.run(command, cwd=installed.bin, capture_output=True, text=True, check=True)
    assert done.stdout == installed.weir("--version")


def test_no_child_process_imports_from_the_current_folder() -> None:
    """Each `python -m` of the product has -P, or a working folder that is the code's own."""
    starting = re.compile(r'sys\.executable,\s+"-m"')
    found = [path for path in tracked() if path.suffix == ".py" and path.parts[0] in ROOMS]
    without = [path.as_posix() for path in found if starting.search((ROOT / path).read_text(encoding="utf-8"))]
    assert without == ["infra/local/function/environment.py"]
