"""`python -m tests.docs` (or `make docs`) writes the pages of docs/reference."""

from __future__ import annotations

from tests.docs.pages import FOLDER, PAGES


def main() -> None:
    """Write every page and print its name."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
