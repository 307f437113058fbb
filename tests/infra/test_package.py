"""The functions' package: reproducible, small, and complete: its entries run from the zip alone."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.support import aws, pythons
from tests.support.engine_env import AT_MS, EngineEnv, kinesis_event
from weir.infra import package
from weir.infra.business import Business
from weir.infra.local.engine.engine import Engine
from weir.ingest.errors import StackFailed

# Lambda's Python brings these; the package must bring all others.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six.py")
BOTOCORE_VERSIONS = os.environ.get("BOTOCORE_VERSIONS", "").split()
NO_VERSION = pytest.param("", marks=pytest.mark.skip(reason="set BOTOCORE_VERSIONS='1.34.162 newest'"))
ROOT = Path(__file__).parents[2]
SITE = Path(sysconfig.get_path("purelib"))

# Isolated and without site-packages: only the folders given can be imported from.
IMPORT_ALL = """
import importlib, json, sys
sys.path[:0] = json.loads(sys.argv[1])
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
print("imported")
"""
INVOKE = """
import importlib, json, sys
sys.path[:0] = json.loads(sys.argv[1])
class Context:
    aws_request_id = "packaged"
    def get_remaining_time_in_millis(self):
        return 60_000
print(json.dumps(importlib.import_module(sys.argv[2]).handler(json.loads(sys.argv[3]), Context())))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


class Unpacked(NamedTuple):
    """A package as Lambda lays it out, and the Python that runs it."""

    python: str
    paths: list[str]
    modules: list[str]

    def run(self, script: str, *arguments: str, environment: dict[str, str] | None = None) -> list[str]:
        """Run a script with the package and the runtime's libraries alone; return its lines."""
        command = [self.python, "-I", "-S", "-c", script, json.dumps(self.paths), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def invoke(self, module: str, event: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
        """Return what the entry answers, after a check that it ran without the command line's packages."""
        *_, answer, imported = self.run(INVOKE, module, json.dumps(event), environment=environment)
        assert not {"click", "yaml", "aiohttp", "uvicorn"} & set(json.loads(imported))
        found: dict[str, Any] = json.loads(answer)
        return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


@pytest.fixture(scope="module")
def built(cache: Path) -> tuple[bytes, bytes]:
    first = package.build('{"sources": 1}', architecture="arm64", cache=cache)
    return first, package.build('{"sources": 1}', architecture="arm64", cache=cache)


@pytest.fixture(scope="module")
def unpacked(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    """Unpack the package for this machine: with Lambda's Python if it is here, else this one and its own libraries."""
    machine = platform.machine()
    architecture = "arm64" if machine in {"aarch64", "arm64"} else "x86_64"
    content = package.build('{"sources": 1}', architecture=architecture, cache=cache)
    held, runtime = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("runtime")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(held)
        names = archive.namelist()
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names if is_ours(name)]
    for name in RUNTIME:
        (runtime / name).symlink_to(SITE / name)
    python = pythons.find(package.PYTHON_VERSION) if sys.platform == "linux" else None
    if python is None:
        for wheel in {name.partition("/")[0] for name in names} - {"weir", "sources.json"}:
            if (SITE / wheel).exists() and not wheel.endswith(".dist-info"):
                shutil.rmtree(held / wheel) if (held / wheel).is_dir() else (held / wheel).unlink()
                (held / wheel).symlink_to(SITE / wheel)
    return Unpacked(python or sys.executable, [str(held), str(runtime)], modules)


def is_ours(name: str) -> bool:
    return name.startswith("weir/") and name.endswith(".py")


@pytest.fixture(scope="module")
def engine_env(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> EngineEnv:
    return EngineEnv(engine.endpoint, tmp_path_factory.mktemp("engine_env"))


@pytest.fixture
def stream(engine: Engine) -> str:
    """Return the name of a new stream with one shard."""
    name = f"stream-{uuid4().hex[:8]}"
    aws.client("kinesis", engine.endpoint).create_stream(StreamName=name, ShardCount=1)
    return name


class NoMetrics(BaseHTTPRequestHandler):
    """Answers GetMetricStatistics as CloudWatch does where there is no datapoint."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"Label": "IteratorAge", "Datapoints": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def cloudwatch() -> Iterator[str]:
    """Return the address of a CloudWatch without metrics: the engine has none at all."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), NoMetrics)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_same_content_gives_the_same_bytes(built: tuple[bytes, bytes]) -> None:
    """Two builds of one tree are equal, so a key that follows the content changes only with it."""
    assert built[0] == built[1]


def test_package_is_small_and_has_what_it_needs(built: tuple[bytes, bytes]) -> None:
    """No larger than with whole rooms; our modules, sources and pinned libraries are in, boto3 and samples are not."""
    names = zipfile.ZipFile(io.BytesIO(built[0])).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert len(built[0]) < 3_260_000
    assert {
        "sources.json",
        "weir",
        "pydantic",
        "aws_kinesis_agg",
        "aws_embedded_metrics",
        "google",
    } <= tops
    assert not {"boto3", "botocore", "aiohttp", "click", "yaml", "tests"} & tops
    assert not [
        name
        for name in names
        if "__pycache__" in name
        or name.startswith(("weir/infra", "weir/loadtest", "weir/cli", "weir/ingest/sources/samples"))
    ]
    assert [name for name in names if name.endswith("aarch64-linux-gnu.so")]


def test_of_operate_only_what_the_account_check_reads_is_in(built: tuple[bytes, bytes]) -> None:
    """Nothing that writes, and no command's code: no target of a replay, no quarantine, no rebuild, no benchmark."""
    names = [name for name in zipfile.ZipFile(io.BytesIO(built[0])).namelist() if name.startswith("weir/operate/")]
    assert "weir/operate/audit/check.py" in names
    assert not [
        name
        for name in names
        if name.startswith(("weir/operate/replay/targets", "weir/operate/rebuild"))
        or "quarantine" in name
        or "bench" in name
    ]


def test_every_module_can_be_imported_from_the_package_alone(unpacked: Unpacked) -> None:
    """No module in the zip imports what neither the zip nor Lambda's Python has."""
    assert len(unpacked.modules) > 50
    assert unpacked.run(IMPORT_ALL, json.dumps(unpacked.modules)) == ["imported"]


@pytest.mark.engine
def test_the_consumer_runs_from_the_package_alone(unpacked: Unpacked, engine_env: EngineEnv) -> None:
    """One batch is judged and committed by what the zip holds: an event, an aggregate's and a forgery."""
    from weir.consumers.judging.aggregate import aggregate
    from weir.ingest.envelope import encode

    [entry] = aggregate([("k", encode(engine_env.payment("packaged", 2)))])
    forged = engine_env.payment("packaged", 4, secret="whsec_AAAA")
    event = kinesis_event(engine_env.payment("packaged", 1), entry.data, forged)
    assert unpacked.invoke("weir.consumers.handler", event, engine_env.environment) == {"batchItemFailures": []}
    assert engine_env.balances()["packaged"] == 3


@pytest.mark.engine
@pytest.mark.parametrize("version", BOTOCORE_VERSIONS or [NO_VERSION])
def test_the_functions_run_on_other_versions_of_botocore(
    unpacked: Unpacked, engine_env: EngineEnv, version: str, tmp_path: Path
) -> None:
    """Lambda may bring another botocore than the lock's: lean clients can be made with it, and the batch is done."""
    wanted = "boto3" if version == "newest" else f"boto3=={version}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path), wanted]
    subprocess.run(command, check=True, capture_output=True)
    other = unpacked._replace(paths=[unpacked.paths[0], str(tmp_path)])
    account = f"botocore-{version}"
    lines = other.run(
        INVOKE,
        "weir.consumers.handler",
        json.dumps(kinesis_event(engine_env.payment(account, 1), engine_env.payment(account, 2))),
        environment=engine_env.environment,
    )
    assert json.loads(lines[-2]) == {"batchItemFailures": []}
    assert engine_env.balances()[account] == 3
    assert not [line for line in lines if "botocore_fallback" in line]


@pytest.mark.engine
def test_the_handshake_runs_from_the_package_alone(unpacked: Unpacked, engine_env: EngineEnv, stream: str) -> None:
    """A POST to the handshake function is stored in the stream, with the request id that API Gateway gave."""
    event = {
        "resource": "/v1/payments",
        "path": "/v1/payments",
        "httpMethod": "POST",
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "pathParameters": None,
        "requestContext": {
            "extendedRequestId": "packaged-1",
            "requestTimeEpoch": AT_MS,
            "identity": {"sourceIp": "192.0.2.7"},
            "path": "/v1/payments",
        },
        "body": "e30=",
        "isBase64Encoded": True,
    }
    environment = engine_env.environment | {"STREAM": stream, "MAX_RECORD_KIB": "1024", "MAX_BODY_KIB": "560"}
    answer = unpacked.invoke("weir.consumers.handshake_handler", event, environment)
    assert (answer["statusCode"], "packaged-1" in answer["body"]) == (200, True)


@pytest.mark.engine
def test_the_account_check_runs_from_the_package_alone(
    unpacked: Unpacked, engine_env: EngineEnv, stream: str, cloudwatch: str
) -> None:
    """The account of an empty stream is closed: nothing acknowledged, nothing missing."""
    event = {"stream": stream, "function": "none", "window_minutes": 10, "record_age_s": 3600}
    environment = engine_env.environment | {"AWS_ENDPOINT_URL_CLOUDWATCH": cloudwatch}
    assert unpacked.invoke("weir.operate.audit.check", event, environment) == {
        "acknowledged": 0,
        "unaccounted": 0,
        "in_flight": 0,
    }


def test_wheel_that_cannot_be_had_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that cannot be downloaded gives a sentence that names the package, not a traceback."""
    (tmp_path / "function.txt").write_text("no-such-package==1.0 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setattr(package, "REQUIREMENTS", tmp_path)
    with pytest.raises(StackFailed, match=r"no-such-package==1\.0 does not exist, or has no wheel"):
        package.build("{}", architecture="arm64", cache=tmp_path)


@pytest.mark.parametrize("harm", ["changed", "replaced", "one too many", "missing"])
def test_a_kept_wheel_that_is_not_the_pinned_one_is_refused(cache: Path, tmp_path: Path, harm: str) -> None:
    """Whatever was done to the folder of wheels since they were downloaded, none of it gets into a package."""
    package.build("{}", architecture="arm64", cache=tmp_path / "cache")
    (folder,) = (tmp_path / "cache").glob("wheels-arm64-*")
    wheels = sorted(folder.glob("*.whl"))
    if harm == "changed":
        with zipfile.ZipFile(wheels[0], "a") as archive:
            archive.writestr("sitecustomize.py", "import os")
    elif harm == "replaced":
        shutil.copy(wheels[0], wheels[1])
    elif harm == "one too many":
        with zipfile.ZipFile(folder / "boto3-99.0-py3-none-any.whl", "w") as archive:
            archive.writestr("boto3/__init__.py", "import os")
    else:
        wheels[-1].unlink()
    with pytest.raises(StackFailed, match="Delete"):
        package.build("{}", architecture="arm64", cache=tmp_path / "cache")


# ---------------------------------------------------------------------------------------------- a project's own code


def lock_of(*names: str) -> str:
    """Return the part of the tests' lock file that pins these packages."""
    text = (ROOT / "requirements" / "test.txt").read_text(encoding="utf-8")
    return "\n".join(pin[0] for pin in package._PIN.finditer(text) if pin[1] in names)


def project(folder: Path, lock: str = "", name: str = "shop") -> Business:
    (folder / name / "inner").mkdir(parents=True)
    (folder / name / "__init__.py").write_text("import iniconfig\n" if lock else "")
    (folder / name / "inner" / "data.json").write_text("{}")
    (folder / name / "__pycache__").mkdir()
    (folder / name / "__pycache__" / "x.pyc").touch()
    if lock:
        (folder / "requirements.lock").write_text(lock)
    return Business(name, folder, (), folder / "requirements.lock" if lock else None)


def built_with(business: Business, cache: Path, architecture: str = "arm64") -> list[str]:
    content = package.build("{}", architecture=architecture, cache=cache, business=business)
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_a_project_s_package_is_in_it(cache: Path, tmp_path: Path) -> None:
    """All its files beside `weir`, but for what Python compiles again."""
    names = built_with(project(tmp_path), cache)
    assert [name for name in names if name.startswith("shop")] == ["shop/__init__.py", "shop/inner/data.json"]


def test_its_own_dependencies_are_in_it_and_what_is_there_already_is_not(cache: Path, tmp_path: Path) -> None:
    """The wheels of its lock file; what Weir pins or Lambda's Python has is not added a second time."""
    business = project(tmp_path, lock_of("iniconfig", "pydantic", "botocore"))
    names = built_with(business, cache)
    assert "iniconfig/__init__.py" in names
    assert not [name for name in names if name.startswith("botocore/")]
    assert len(names) == len(set(names))
    found = package.dependencies(business, (), architecture="arm64", cache=cache)
    assert [name.split()[0] for name in found] == ["iniconfig"]
    assert all(size > 1000 for size in found.values())


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ("pydantic==1.0 \\\n    --hash=sha256:" + "0" * 64, r"pins pydantic 1\.0, and the function has \d+"),
        ("iniconfig==2.0", "pins iniconfig without hashes"),
        (
            "pyobjc-core==10.1 \\\n    --hash=sha256:" + "0" * 64,
            r"pyobjc-core==10\.1 does not exist, or has no wheel for Python 3\.13 on Linux aarch64",
        ),
    ],
)
def test_a_dependency_that_cannot_be_added_is_named(lock: str, said: str, cache: Path, tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(StackFailed, match=said):
        built_with(project(tmp_path, lock), cache)


def test_a_lock_file_that_is_not_there_is_named(cache: Path, tmp_path: Path) -> None:
    """By the field that names it."""
    with pytest.raises(StackFailed, match=r"tool\.weir\.lock: .*nowhere\.txt cannot be read"):
        built_with(project(tmp_path)._replace(lock=tmp_path / "nowhere.txt"), cache)


@pytest.mark.parametrize("name", ["pydantic", "google", "six"])
def test_a_package_with_the_name_of_another_is_refused(name: str, cache: Path, tmp_path: Path) -> None:
    """It would hide what Weir needs."""
    with pytest.raises(StackFailed, match=f"The package {name} has the name of one that the function has"):
        built_with(project(tmp_path, name=name), cache)
