"""The texts that name things, each a type of its own, so that `mypy` tells them apart. At run time they are `str`."""

from __future__ import annotations

from typing import NewType

# The name of a source in the sources file, and in the URL: `github`.
SourceName = NewType("SourceName", str)

# The id that API Gateway gives a request; it names one delivery, and each retry by the provider has its own.
RequestId = NewType("RequestId", str)

# The id of an event, as its source's `event.id` gives it: the same for each retry of the same event.
EventId = NewType("EventId", str)

# The key of the item that marks an event as seen in the table of events: `SOURCE#EVENT_ID`, or a hash in its place.
MarkKey = NewType("MarkKey", str)

# The sequence number of a record in its shard: digits, up to 128 of them.
# Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html
SequenceNumber = NewType("SequenceNumber", str)
