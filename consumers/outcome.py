"""What becomes of an event: every outcome with what it means. To add one, add a member here and decide on it.

A member is the text that an item's attribute ``outcome``, a log line and a report hold, so it compares equal to that
text. What each outcome means to the commit is in `weir.consumers.commit.pending`.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """An outcome, given as its text, the metric that counts it, and three facts.

    ``is_done``: the event has had its effect, or needs none; nothing is left to do for it.
    ``is_final``: the consumer reads on behind it; a delivery can end with it.
    ``is_listed``: an item of the events table that carries it is an event, which an operator can list and ask for.
    """

    #              text, metric, is_done, is_final, is_listed
    APPLIED = "applied", "Applied", True, True, True
    DUPLICATE = "duplicate", "Duplicate", True, True, False  # another delivery of the same event has the mark
    IGNORED = "ignored", "Ignored", True, True, True  # proven and stored; no business code wants it
    QUARANTINED = "quarantined", "Quarantined", False, True, True
    WAITING = "waiting", "Waiting", False, True, True  # what business code waits for is not there yet
    RETRY = "retry", "Retried", False, False, False  # never stored: the record is read again
    FENCED = "fenced", "", False, False, False  # on a mark whose event was refused; the quarantined item is the event

    metric: str
    is_done: bool
    is_final: bool
    is_listed: bool

    def __new__(cls, text: str, metric: str, is_done: bool, is_final: bool, is_listed: bool) -> Outcome:
        """Make a member from its line above."""
        member = str.__new__(cls, text)
        member._value_ = text
        member.metric = metric
        member.is_done = is_done
        member.is_final = is_final
        member.is_listed = is_listed
        return member


# Sets and tuples by meaning, for texts that come from a table, a log or the command line, and for reports.
# An item with one of these lies under its delivery's key, and a fence keeps that delivery from its event's.
HELD_BACK = frozenset((Outcome.QUARANTINED, Outcome.WAITING))
DONE = frozenset(outcome for outcome in Outcome if outcome.is_done)
FINAL = tuple(outcome for outcome in Outcome if outcome.is_final)
LISTED = tuple(outcome for outcome in Outcome if outcome.is_listed)
METRICS = {outcome: outcome.metric for outcome in Outcome if outcome.metric}
