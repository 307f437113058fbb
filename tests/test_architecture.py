from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("ingest", "consumers", "operate", "infra", "loadtest", "testing", "cli")
MODULES = [*sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]

# Whom a room may import, beside itself.
MAY_IMPORT = {
    "ingest": set(),
    "consumers": {"ingest"},
    "operate": {"ingest", "consumers"},
    "infra": {"ingest"},
    "loadtest": {"ingest"},
    "testing": {"ingest", "consumers", "infra"},
    "cli": {"ingest", "consumers", "operate", "infra", "loadtest", "testing"},
}
# The packages and modules of a room, lowest first: each may import its own line and those above it. A longer name goes
# before a shorter one, and every module of a room in this table has a line.
ORDER: dict[str, tuple[tuple[str, ...], ...]] = {
    "ingest": (
        (
            "errors",
            "opener",
            "ids",
            "lines",
            "live_secrets",
            "strict",
            "envelope",
            "locations",
            "charsets",
            "xml_text",
            "times",
            "calendar",
            "encodings",
            "structured_fields",
        ),
        ("schemes.crypto",),
        ("schemes.base",),
        ("schemes.parts",),
        ("schemes",),
        ("sources",),
        ("handshakes",),
        ("contract",),
    ),
    "consumers": (
        ("outcome", "raised", "settings"),
        ("business",),
        ("events_table",),
        ("checks",),
        ("commit",),
        ("judging",),
        ("batch",),
        ("waiting",),
        ("handshake",),
        ("wiring",),
        ("handler", "handshake_handler"),
    ),
    "operate": (
        ("lookup",),
        ("replay.request", "replay.ports", "replay.waits", "replay.progress", "replay.context", "replay.filters"),
        ("replay.origins",),
        ("replay.targets",),
        ("replay",),
        ("audit", "failures", "quarantine", "rebuild", "lag", "subscriptions", "bench", "alarm_relay"),
    ),
    "infra": (
        ("outputs", "reach", "tables", "silence", "project_file", "localstack"),
        ("business", "template", "cost", "prices"),
        ("place", "package", "flood"),
        ("control", "secrets", "lifetimes", "uploads", "stored", "parameters", "consumer_log"),
        ("change_sets", "synth", "shapes", "policies"),
        ("costs",),
        ("destroy", "adopt"),
        ("deploy",),
        ("signing_keys", "doctor"),
        ("sender",),
        ("probe",),
        ("local.asgi", "local.logs", "local.serving", "local.vtl", "local.engine_client"),
        ("local.engine", "local.function"),
        ("local.gateway", "local.poller"),
        ("local.archiver", "local.console", "local.adapt"),
        ("local.provision",),
        ("local.stream_readers",),
        ("local",),
    ),
    "testing": (
        ("expressions", "sample_events", "strategies", "stack"),
        ("memory_store",),
        ("applying",),
        ("plugin",),
    ),
    "loadtest": (
        ("load_packages", "sending"),
        ("judging",),
        ("report",),
        ("session",),
        ("faults", "bench"),
    ),
}
# infra/ runs the handler in a process of its own, found by the name that the template gives.
AWS_LIBRARIES = {"boto3", "botocore", "s3transfer"}
MAY_CALL_AWS = (
    "consumers/events_table/lean_botocore.py",
    "consumers/events_table/lean_session.py",
    "consumers/events_table/store.py",
    "consumers/judging/secret_readers.py",
    "consumers/handshake/record_putter.py",
    "infra/",
    "loadtest/",
    "cli/",
)
LINES_MAX = 40
MAY_READ_ENVIRONMENT = ("consumers/settings.py", "infra/", "cli/", "testing/stack.py")
IDS = [path.relative_to(ROOT).as_posix() for path in MODULES]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: imports are absolute, so that the rooms show"
            yield node.module or ""


def top_levels(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imported(path)}


def rooms_of(path: Path) -> set[str]:
    """Return the rooms that a module imports; `weir` alone stands for the links."""
    return {module.split(".")[1] for module in imported(path) if module.startswith("weir.")}


def test_the_walk_finds_the_rooms() -> None:
    """Every room has modules and every rule names files that are there, or the rules below would prove nothing."""
    assert len(MODULES) > 15
    assert {name_of(path).partition("/")[0] for path in MODULES} == set(MAY_IMPORT)
    for allowed in (*MAY_CALL_AWS, *MAY_READ_ENVIRONMENT):
        assert (ROOT / allowed).exists(), f"{allowed} is named by a rule and does not exist"
    assert any(library in AWS_LIBRARIES for path in MODULES for library in top_levels(path))


def test_the_package_is_links_to_the_rooms() -> None:
    """`weir/` holds a relative link for each room and for the examples, so that nothing is there twice."""
    links = {path.name: path.readlink().as_posix() for path in (ROOT / "weir").iterdir() if path.is_symlink()}
    assert links == {room: f"../{room}" for room in (*ROOMS, "examples")}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_imports_run_one_way(path: Path) -> None:
    """`ingest` imports no other room, every other one those that it may, and no room `tests` or a room's bare name."""
    room = name_of(path).partition("/")[0]
    assert not top_levels(path) & {*ROOMS, "tests"}, f"{name_of(path)}: the rooms are in the package `weir`"
    others = rooms_of(path) - {room}
    assert others <= MAY_IMPORT[room], f"{name_of(path)} must not import {sorted(others - MAY_IMPORT[room])}"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_aws_is_called_in_few_places(path: Path) -> None:
    """boto3 and botocore are imported only where a port to a service is."""
    if not name_of(path).startswith(MAY_CALL_AWS):
        assert not top_levels(path) & AWS_LIBRARIES, f"{name_of(path)} must not import boto3 or botocore"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_types_of_aws_clients_are_for_the_checker_alone(path: Path) -> None:
    """`types_boto3` is installed for development only: it is imported under TYPE_CHECKING, and so is indented."""
    for line in path.read_text(encoding="utf-8").splitlines():
        assert not line.startswith(("from types_boto3", "import types_boto3")), f"{name_of(path)}: {line}"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_the_environment_is_read_in_few_places(path: Path) -> None:
    """`os.environ` and `os.getenv` appear in consumers/settings.py and in what starts processes, nowhere else."""
    if name_of(path).startswith(MAY_READ_ENVIRONMENT):
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"environ", "getenv"}, f"{name_of(path)}:{node.lineno} reads the environment"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert not {alias.name for alias in node.names} & {"environ", "getenv"}, name_of(path)


def dotted(path: Path) -> str:
    """Return the name under which a module is imported."""
    return "weir." + name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports_of(path: Path, names: set[str]) -> set[str]:
    """Return the modules of the product that a module imports, at its top or late, but not for type checking only."""
    found = set()
    for node in runtime_nodes(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (submodules & names) or {node.module or ""}
    return found & names


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a module without what is under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield node
            yield from runtime_nodes(node)


def graph() -> dict[str, set[str]]:
    """Return what each module imports."""
    names = {dotted(path) for path in MODULES}
    return {dotted(path): imports_of(path, names) for path in MODULES}


def cycles(modules: dict[str, set[str]]) -> list[str]:
    """Return the modules that cannot be put into an order in which each comes after all that it imports."""
    left = dict(modules)
    while ready := [name for name, wanted in left.items() if not wanted & left.keys()]:
        for name in ready:
            del left[name]
    return sorted(left)


def line_of(module: str) -> int:
    """Return the number of a module's line in `ORDER`."""
    room, _, rest = module.removeprefix("weir.").partition(".")
    lines = [(prefix, number) for number, line in enumerate(ORDER[room]) for prefix in line]
    fitting = [(prefix, number) for prefix, number in lines if rest == prefix or rest.startswith(prefix + ".")]
    assert fitting, f"{module} has no line in ORDER: add its package"
    return max(fitting, key=lambda found: len(found[0]))[1]


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_functions_are_short(path: Path) -> None:
    """No function of the product has more than 40 lines, its docstring included."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= LINES_MAX, f"{node.name}, line {node.lineno}"


def test_no_import_cycle() -> None:
    """The modules of the product can be put into an order in which each comes after all that it imports, even late."""
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["a", "b", "c"]
    assert cycles(graph()) == []


@pytest.mark.parametrize("room", ORDER)
def test_packages_import_in_order(room: str) -> None:
    """A module imports only its own line of the room's order and lines before it, and every line has a module."""
    modules = {name: wanted for name, wanted in graph().items() if name.startswith(f"weir.{room}.")}
    upwards = {
        f"{name} imports {other}"
        for name, wanted in modules.items()
        for other in wanted & modules.keys()
        if line_of(other) > line_of(name)
    }
    assert upwards == set()
    assert {line_of(name) for name in modules} == set(range(len(ORDER[room])))
