"""``python -m weir``: the command line."""

from weir.cli.main import main

main()
