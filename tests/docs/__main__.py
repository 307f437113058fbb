"""`python -m tests.docs` (or `make docs`) writes the generated pages of docs."""

from __future__ import annotations

from tests.docs.pages import FOLDER, PAGES


def main() -> None:
    """Write every page and print its name."""
    for name, page in PAGES.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(page(), encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
