"""A stack to break: started as anyone starts it, with a proxy in front of its engines, and its processes at hand."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from weir.ingest.errors import StackFailed
from weir.loadtest.faults.proxy import Proxy
from weir.loadtest.session import Target

_START_S = 90.0
_STOP_S = 40.0
_COMMAND_S = 300.0
# Short enough that a hung function is found out within a scenario, small enough that memory can run out;
# and an archive that need not be waited for.
SETTINGS = ("FunctionTimeoutSeconds=12", "FunctionMemoryMB=256", "ArchiveBufferSeconds=2")
_ROOM_BYTES = 20_000  # for a few calls
JOURNAL = "journal.jsonl"
_CONNECTIONS = Path("/proc/net/tcp")  # proc(5), Linux
# ioctl_iflags(2), Linux with 64 bits
_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
_PARTS = {
    "engine": "weir.infra.local.engine.engine_process",
    "gateway": "weir.infra.local.gateway.gateway_process",
    "function": "local.function.runtime",
}

# Starts `weir` with a home, a command and its arguments, and a file for what it says.
RunStack = Callable[[Path, Sequence[str], Path], "subprocess.Popen[bytes]"]


class FaultStack:
    """One stack in a folder of its own. ``target`` says how to reach it once it runs, given that folder."""

    def __init__(
        self,
        run_stack: RunStack,
        target: Callable[[Path], Target],
        *,
        keep: Path | None = None,
        settings: Sequence[str] = SETTINGS,
    ) -> None:
        self._run_stack, self._target_of, self._settings = run_stack, target, settings
        self._temporary = keep is None
        self.home = keep or Path(tempfile.mkdtemp(prefix="weir-faults-"))
        self._port, proxy_port, *self._engine_ports = _free_ports(4)
        stream, store = (f"http://127.0.0.1:{port}" for port in self._engine_ports)
        self.proxy = Proxy(proxy_port, store, kinesis=stream)
        self._process: subprocess.Popen[bytes] | None = None
        self._target: Target | None = None

    @property
    def log(self) -> Path:
        return self.home / "run.log"

    @property
    def checkpoints(self) -> list[Path]:
        """The files that say how far the stream is done."""
        return sorted((self.home / "checkpoints").glob("*.json"))

    @property
    def target(self) -> Target:
        if self._target is None:
            self._target = self._target_of(self.home)
        return self._target

    def __enter__(self) -> FaultStack:
        self.proxy.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.proxy.stop()
        if self._temporary:
            shutil.rmtree(self.home, ignore_errors=True)

    def start(self) -> None:
        """Start the stack and wait until it is ready. Raises: StackFailed with its last words."""
        arguments = ["run", "--port", str(self._port), "--engine-via", self.proxy.url]
        arguments += ["--engine-ports", *map(str, self._engine_ports)]
        for setting in self._settings:
            arguments += ["--set", setting]
        self.home.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self._target = None  # a new session has a new access key
        self._process = self._run_stack(self.home, arguments, self.log)
        deadline_s = time.monotonic() + _START_S
        while "\nready" not in (said := self.log.read_text(encoding="utf-8", errors="replace")):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise StackFailed("The stack to break did not start.", said=said.splitlines()[-5:])
            time.sleep(0.1)

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command of `weir` against it, as anyone would; return its exit code and what it said."""
        said = self.home / "command.log"
        said.write_bytes(b"")
        code = self._run_stack(self.home, arguments, said).wait(_COMMAND_S)
        return code, said.read_text(encoding="utf-8", errors="replace")

    def last_words(self) -> str:
        """Return what a stack last said that ended without being asked to; empty for any other."""
        if self._process is None or not self._process.poll():
            return ""
        said = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line for line in reversed(said) if line.strip()), "nothing")

    def stop(self) -> None:
        """Stop it in good order."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> int:
        """Kill the supervisor, and wait until all that it started has gone with it; return how many there were."""
        if self._process is None:
            return 0
        children = [pid for part in _PARTS for pid in self.pids(part)]
        self._process.kill()
        self._process.wait()
        self._await_gone(children)
        return 1 + len(children)

    def await_end(self) -> None:
        """Wait until the supervisor has taken the stack down by itself. Raises: StackFailed when it does not."""
        if self._process is None:
            return
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired as error:
            raise StackFailed("The stack runs on without one of its parts.") from error

    def pids(self, part: str) -> list[int]:
        """Return the processes of ``engine``, ``gateway`` or ``function``."""
        if self._process is None:
            return []
        listed = subprocess.run(
            ["ps", "-axww", "-o", "pid=,ppid=,args="],  # noqa: S607 - unlimited width: a clone may lie deep
            capture_output=True,
            text=True,
            check=True,
        )
        rows = (line.split(None, 2) for line in listed.stdout.splitlines())
        parent, mark = str(self._process.pid), _PARTS[part]
        return [int(row[0]) for row in rows if len(row) == 3 and row[1] == parent and mark in row[2]]

    def fill_disk(self) -> int:
        """Leave the engines room for a few calls more, as a disk that fills up; return how many there were.

        Their files may not grow further than a little over what the larger journal has. Raises: StackFailed elsewhere
        than on Linux.
        """
        if not hasattr(resource, "prlimit"):
            raise StackFailed("Only Linux can limit the files of another process.")
        journals = [self.home / part / JOURNAL for part in ("stream", "store")]
        largest_bytes = max(path.stat().st_size for path in journals if path.exists()) + _ROOM_BYTES
        pids = self.pids("engine")
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest_bytes, largest_bytes))
        return len(pids)

    @contextmanager
    def read_only(self, *folders: str) -> Iterator[int]:
        """Let nothing be written in folders of the home, all of it if none is named; yield how many files there are.

        What the test itself writes there stays writable. Raises: StackFailed where `can_be_read_only` says no.
        """
        if not can_be_read_only(self.home):
            raise StackFailed("Only root on Linux can make files immutable, on ext4, XFS or Btrfs.")
        own = {self.home / "load", self.log, self.home / "command.log"}
        roots = [self.home / name for name in folders] or [one for one in self.home.iterdir() if one not in own]
        paths = [path for root in roots for path in (root, *sorted(root.rglob("*"))) if path.is_file() or path.is_dir()]
        paths += [] if folders else [self.home]
        done: list[Path] = []
        try:
            for path in paths:
                if path.exists():
                    _set_immutable(path, immutable=True)
                    done.append(path)
            yield len(done)
        finally:
            for path in done:
                _set_immutable(path, immutable=False)

    def signal(self, part: str, number: int) -> int:
        """Send a signal to the processes of a part; return how many there were."""
        pids = self.pids(part)
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        return len(pids)

    def signal_caller(self, part: str, port: int, number: int) -> int:
        """Send a signal to the process of a part whose connection begins at a port; return how many there were.

        Where the system does not tell whose a connection is, it is the part's first process.
        """
        pids = self.pids(part)
        found = [pid for pid in pids if port in _local_ports(pid)] if _CONNECTIONS.exists() else pids
        for pid in found:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            return 1
        return 0

    def _await_gone(self, pids: Sequence[int]) -> None:
        deadline_s = time.monotonic() + _STOP_S
        while time.monotonic() < deadline_s and any(_lives(pid) for pid in pids):
            time.sleep(0.05)


def can_be_read_only(folder: Path) -> bool:
    """Tell whether this user may make files of a folder immutable, and its file system knows how."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        try:
            _set_immutable(Path(probe.name), immutable=True)
            _set_immutable(Path(probe.name), immutable=False)
        except OSError:
            return False
    return True


def _set_immutable(path: Path, *, immutable: bool) -> None:
    """Set or clear the attribute `i` of chattr(1), which holds for files that are open for writing, too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flags = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("l", 0)))[0]
        flags = flags | _IMMUTABLE if immutable else flags & ~_IMMUTABLE
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags))
    finally:
        os.close(descriptor)


def _local_ports(pid: int) -> set[int]:
    """Return the ports at which a process's TCP connections begin."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:  # closed meanwhile
            continue
    rows = [line.split() for line in _CONNECTIONS.read_text(encoding="ascii").splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in inodes}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
