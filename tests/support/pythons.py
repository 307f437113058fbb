"""Other Pythons of this machine: by name on the path, or among pyenv's versions."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path


@cache
def find(version: str) -> str | None:
    """Return the path of a Python of a version such as 3.13 that runs; None if this machine has none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"versions/{version}.*/bin/python"))]
    return next((path for path in found if path and _runs(path)), None)


def _runs(path: str) -> bool:
    # pyenv's shims are on the path for every version, and fail for those that are not chosen.
    return subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
