"""The exit codes of every command. There are no others."""

from __future__ import annotations

from typing import Final

FINE: Final = 0
BAD_ANSWER: Final = 1
NO_ANSWER: Final = 2
STOPPED: Final = 130  # 128 and SIGINT's number, as shells count it

MEANINGS: Final = {
    FINE: "The command did its work, and the answer is good.",
    BAD_ANSWER: "The command did its work, and the answer is bad: something is lost, failed, refused or different.",
    NO_ANSWER: "There is no answer: wrong usage, a missing stack or file, a service that did not answer, a bug.",
    STOPPED: "Stopped by Ctrl-C or SIGTERM before it was done.",
}
