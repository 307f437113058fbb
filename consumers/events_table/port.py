"""The port between the commit and the store: four calls, what they answer, and the two refusals that carry facts.

Whatever else goes wrong is raised as a TransientError (nothing is known of the write, or it did not happen: do it
again) or as a ConfigError (no call can succeed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from weir.consumers.events_table.actions import ActionJson
from weir.consumers.events_table.attributes import Field
from weir.consumers.events_table.mark import Mark

# Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
READ_KEYS_MAX = 100
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html
INSERT_ITEMS_MAX = 25

NONE = "None"
CONDITION_FAILED = "ConditionalCheckFailed"
DUPLICATE_ITEM = "DuplicateItem"
VALIDATION_ERROR = "ValidationError"
TOO_LARGE = "ItemCollectionSizeLimitExceeded"
CONFLICT = "TransactionConflict"


class Reason(NamedTuple):
    """What one action or one inserted item met; ``mark`` is the item that stood in its way, where the store says so."""

    code: str
    message: str = ""
    mark: Mark | None = None


class Cancelled(Exception):
    """A transaction in which no action took effect; ``reasons`` are in the order of the actions."""

    def __init__(self, reasons: Sequence[Reason]) -> None:
        self.reasons = reasons
        super().__init__(", ".join(reason.code for reason in reasons))


class Refused(Exception):
    """A call that the store will never take; it does not say which part of it is wrong."""


class Inserted(NamedTuple):
    """The answer to an insertion: a reason for each item, code `NONE` if it was written; write units consumed."""

    reasons: Sequence[Reason]
    write_units: float = 0.0


class StoreLayout(NamedTuple):
    """Where a store writes: the events table, the tables of business code by logical name, perhaps a bucket."""

    events_table: str
    tables: Mapping[str, str]
    has_bucket: bool


class Store(Protocol):
    """What the commit needs of a database and a bucket. Each call may be made from any thread."""

    @property
    def layout(self) -> StoreLayout:
        """Return where this store writes."""

    def read_marks(self, keys: Sequence[str], *, consistent: bool) -> Mapping[str, Mark]:
        """Return the marks that exist among at most `READ_KEYS_MAX` keys.

        If it need not be ``consistent``, a very young mark may be missing and the read costs half.
        """

    def transact(self, requests: Sequence[ActionJson], token: str) -> float:
        """Do all of the actions or none; return the write units. Idempotent for ten minutes under its token.

        Raises: Cancelled, Refused.
        """

    def insert(self, items: Sequence[Sequence[Field]]) -> Inserted:
        """Write at most `INSERT_ITEMS_MAX` items of the events table, each if its key is free, each for itself.

        Raises: Refused.
        """

    def put_payload(self, key: str, blob: bytes) -> None:
        """Keep a blob in the bucket; the same key always has the same blob."""


class ReadMarks(NamedTuple):
    """A bulk read of marks."""

    keys: Sequence[str]
    consistent: bool

    def run(self, store: Store) -> Mapping[str, Mark]:
        return store.read_marks(self.keys, consistent=self.consistent)


class Transact(NamedTuple):
    """One transaction."""

    requests: Sequence[ActionJson]
    token: str

    def run(self, store: Store) -> float:
        return store.transact(self.requests, self.token)


class Insert(NamedTuple):
    """One batch of conditional inserts."""

    items: Sequence[Sequence[Field]]

    def run(self, store: Store) -> Inserted:
        return store.insert(self.items)


class PutPayload(NamedTuple):
    """One large blob."""

    key: str
    blob: bytes

    def run(self, store: Store) -> None:
        store.put_payload(self.key, self.blob)


StoreCall: TypeAlias = ReadMarks | Transact | Insert | PutPayload
