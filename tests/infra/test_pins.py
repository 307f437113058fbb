"""What is fetched from elsewhere is named by its content: a tag can be moved to another one."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_images_and_actions_are_pinned() -> None:
    """Each image has a digest, each action of the CI a commit."""
    images = re.findall(r"^ +image: *(\S+)", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    assert images
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in images), images
    workflows = (ROOT / ".github" / "workflows").glob("*.y*ml")
    actions = [action for path in workflows for action in re.findall(r"uses: *(\S+)", path.read_text())]
    assert actions
    assert all(re.search(r"@[0-9a-f]{40}$", action) for action in actions), actions
