"""Apache Velocity 1.7 itself, as a child process: the oracle for mapping templates."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

JARS = [Path("/usr/share/java") / name for name in ("velocity.jar", "commons-lang.jar", "commons-collections3.jar")]
SOURCE = Path(__file__).parents[1] / "infra" / "velocity" / "Render.java"
INSTALL = "apt-get install velocity libcommons-lang-java default-jdk-headless"


def missing() -> bool:
    """Tell whether Velocity or the JDK is not on this machine."""
    return not all(jar.exists() for jar in JARS) or shutil.which("javac") is None


class VelocityError(Exception):
    """Velocity refused the template or failed on it."""


class Velocity:
    """One JVM that renders template after template; a context manager."""

    def __enter__(self) -> Self:
        self._classes = tempfile.TemporaryDirectory(prefix="weir-velocity-")
        classpath = ":".join([self._classes.name, *map(str, JARS)])
        compiler = ["javac", "-nowarn", "-Xlint:none", "-encoding", "UTF-8", "-cp", classpath, "-d", self._classes.name]
        subprocess.run([*compiler, str(SOURCE)], check=True, capture_output=True)
        self._process = subprocess.Popen(
            ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath, "Render"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._classes.cleanup()

    def render(
        self,
        template: str,
        *,
        body: str = "",
        path: dict[str, str] | None = None,
        querystring: dict[str, str] | None = None,
        header: dict[str, str] | None = None,
        context: dict[str, Any] | None = None,
        stage_variables: dict[str, str] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """Return the text and what the template put into $context.responseOverride.

        Raises: VelocityError.
        """
        request = {
            "template": template,
            "body": body,
            "path": path or {},
            "querystring": querystring or {},
            "header": header or {},
            "context": context or {},
            "stageVariables": stage_variables or {},
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise VelocityError(answer["error"])
        return answer["text"], answer["override"]
