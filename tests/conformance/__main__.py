"""Runs the scenarios: ``python -m tests.conformance [--at PLACE]``; `make conformance` and `make conformance-clean`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.conformance import on_aws, table
from tests.conformance.scenarios import load

FOLDER = str(Path(__file__).parent)


def main() -> int:
    """Run what the command line asks for; return 0 only if all of it could be published."""
    options = _options()
    if options.at == "aws":
        given = (options.endpoint, options.yes, options.hasty, tuple(options.only), options.results, options.page)
        try:
            return on_aws.clean(on_aws.Asked(*given)) if options.clean else on_aws.run(on_aws.Asked(*given))
        except KeyboardInterrupt:
            return on_aws.INTERRUPTED
    tests = f"test_{options.at}" if options.at else " or ".join(f"test_{place.name}" for place in table.EMULATORS)
    # In a process of its own: pytest wants to import everything itself.
    ran = subprocess.run([sys.executable, "-m", "pytest", "-q", FOLDER, "-k", tests], check=False)
    return ran.returncode or table.main()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--at", choices=[place.name for place in table.PLACES], help="both emulators if none is given")
    aws = parser.add_argument_group("on AWS")
    aws.add_argument("--yes", action="store_true", help="do not ask before anything is made")
    aws.add_argument("--clean", action="store_true", help="only remove what runs have left")
    aws.add_argument("--only", action="append", default=[], choices=list(load()), help="one scenario; may be repeated")
    aws.add_argument("--endpoint", help="an emulator in the account's place: a rehearsal, which publishes nothing")
    aws.add_argument("--hasty", action="store_true", help="with an emulator's waits in place of AWS's")
    aws.add_argument("--results", type=Path, help="the folder for the results; of a rehearsal, too")
    aws.add_argument("--page", type=Path, help="the page to write; of a rehearsal, too")
    options = parser.parse_args()
    if options.at != "aws" and options.clean:
        parser.error("--clean is for --at aws: the emulators leave nothing")
    if options.hasty and not options.endpoint:
        parser.error("--hasty is for --endpoint: AWS takes its time")
    return options


if __name__ == "__main__":
    sys.exit(main())
