"""DynamoDB and S3 as the commit's store; every error of theirs is translated here, in one table.

The requests are already in wire form, so they go out as they are: botocore signs, sends and reads the answer, but does
not walk a hundred items shape by shape to write what is written already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore import __version__ as botocore_version
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from weir.consumers.events_table.actions import ActionJson, to_json
from weir.consumers.events_table.attributes import Field
from weir.consumers.events_table.mark import Mark, read_mark
from weir.consumers.events_table.port import NONE, Cancelled, Inserted, Reason, Refused, StoreLayout
from weir.ingest.errors import CommitConflict, StoreRefused, StoreThrottled, StoreUnavailable, TransientError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

# A call that takes longer is made again: under its token, so that nothing happens twice.
CONNECT_TIMEOUT_S = 1
READ_TIMEOUT_S = 5

# The parameter of a call that is its whole body, for a client of `send_as_written`.
AS_WRITTEN = "WeirBody"

# Every code that is not here is a failure of the store: the call is made again.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
_REFUSED = frozenset({"ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException"})
_THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "Throttling", "SlowDown"}
)
_HOPELESS = frozenset(
    {
        "AccessDeniedException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "MissingAuthenticationTokenException",
        "InvalidSignatureException",
    }
)


def client_config(concurrency: int) -> Config:
    """Return what a DynamoDB client for `DynamoStore` is made with: no retries and no validation under ours."""
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 1},
        parameter_validation=False,
        max_pool_connections=concurrency,
        tcp_keepalive=True,
        disable_request_compression=True,
        # botocore would put its own together anew for every call, a tenth of what the call costs.
        user_agent=f"Weir Botocore/{botocore_version}",
    )


class DynamoStore:
    """The events table, the tables of business code and the payload bucket.

    ``dynamodb`` is a client made with `client_config`; ``s3`` makes or returns a client when the first large payload
    comes. An empty ``bucket`` means there is none.
    """

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        layout: StoreLayout,
        *,
        bucket: str = "",
        s3: Callable[[], S3Client] | None = None,
    ) -> None:
        self._dynamodb = dynamodb
        self._layout = layout
        self._bucket = bucket
        self._s3 = s3
        send_as_written(dynamodb)

    @property
    def layout(self) -> StoreLayout:
        """Return where this store writes."""
        return self._layout

    def read_marks(self, keys: Sequence[str], *, consistent: bool) -> Mapping[str, Mark]:
        """Return the marks that exist among the keys."""
        table = self._layout.events_table
        wanted = {
            "Keys": [{"pk": {"S": key}} for key in keys],
            "ConsistentRead": consistent,
            "ProjectionExpression": "pk, request_id, #outcome, reason, refused, applied_at, #type",  # MARK_ATTRIBUTES
            "ExpressionAttributeNames": {"#outcome": "outcome", "#type": "type"},
        }
        body = to_json({"RequestItems": {table: wanted}})
        answer = self._call(self._dynamodb.batch_get_item, body, "Responses", RequestItems={})
        if answer.get("UnprocessedKeys"):
            raise StoreThrottled("Marks were left unread.", count=len(keys))
        return {item["pk"]["S"]: read_mark(item) for item in answer["Responses"].get(table, ())}

    def transact(self, requests: Sequence[ActionJson], token: str) -> float:
        """Do all of the actions or none."""
        actions = ",".join(requests)
        body = f'{{"ClientRequestToken":"{token}","ReturnConsumedCapacity":"TOTAL","TransactItems":[{actions}]}}'
        return _consumed(self._call(self._dynamodb.transact_write_items, body, "ConsumedCapacity", TransactItems=[]))

    def insert(self, items: Sequence[Sequence[Field]]) -> Inserted:
        """Write each item whose key is free: a PartiQL INSERT, which is a conditional Put that can be batched."""
        table = self._layout.events_table
        statements = ",".join([_insert_statement(table, item) for item in items])
        body = f'{{"ReturnConsumedCapacity":"TOTAL","Statements":[{statements}]}}'
        answer = self._call(self._dynamodb.batch_execute_statement, body, "Responses", Statements=[])
        reasons = [_statement_reason(one.get("Error")) for one in answer["Responses"]]
        if len(reasons) != len(items):
            raise StoreUnavailable("An insert was answered in part.", asked=len(items), answered=len(reasons))
        return Inserted(reasons, _consumed(answer))

    def put_payload(self, key: str, blob: bytes) -> None:
        """Keep a blob in the bucket."""
        if self._s3 is None:
            raise StoreRefused("There is a payload bucket but no client for it.")
        try:
            answer = self._s3().put_object(Bucket=self._bucket, Key=key, Body=blob)
        except (ClientError, BotoCoreError) as error:
            # Only large deliveries wait for the bucket, so nothing that it says may stop the others.
            raise StoreUnavailable("The payload bucket did not take a blob.", cause=_code(error)) from error
        if not answer.get("ETag"):
            raise StoreUnavailable("What answered was not S3.", lacks="ETag")

    def _call(self, operation: Callable[..., Any], body: str, member: str, **required: object) -> Any:
        """Make a call with a JSON body; ``required`` is an empty form of what botocore's endpoint rules look into.

        Every true answer has the ``member``; botocore takes any body under a 200 for one, a proxy's page included.
        """
        try:
            answer = operation(**{AS_WRITTEN: body.encode("ascii")}, **required)
        except (ClientError, BotoCoreError) as error:
            raise translated(error) from error
        if member not in answer:
            raise StoreUnavailable("What answered was not DynamoDB.", lacks=member)
        return answer


def send_as_written(dynamodb: DynamoDBClient) -> None:
    """Let a client take the parameter that is a request's whole body and send it as it is."""
    events: Any = dynamodb.meta.events  # its types know no handler that returns something
    events.register("provide-client-params.dynamodb", _take_body, unique_id="weir-take-body")
    events.register("before-call.dynamodb", _give_body, unique_id="weir-give-body")


def _take_body(params: dict[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any] | None:
    if AS_WRITTEN not in params:
        return None
    context[AS_WRITTEN] = params[AS_WRITTEN]
    return {name: value for name, value in params.items() if name != AS_WRITTEN}


def _give_body(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    if AS_WRITTEN in context:
        params["body"] = context[AS_WRITTEN]


def translated(error: ClientError | BotoCoreError) -> Exception:
    """Return what an error of DynamoDB means for the commit."""
    if not isinstance(error, ClientError):
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return StoreRefused("There are no AWS credentials.", cause=type(error).__name__)
        return StoreUnavailable("DynamoDB did not answer.", cause=type(error).__name__)
    code, message = _code(error), str(error.response["Error"].get("Message", ""))
    if code == "TransactionCanceledException":
        return Cancelled([_reason(one) for one in error.response.get("CancellationReasons", ())])
    if code == "IdempotentParameterMismatchException":
        return Cancelled(())  # nothing happened under this token that is ours: go again under another
    if code in _REFUSED:
        return Refused(message)
    return _transient(code, message)


def _transient(code: str, message: str) -> TransientError | StoreRefused:
    if code in _THROTTLED:
        return StoreThrottled(message, code=code)
    if code == "TransactionConflictException":
        return CommitConflict(message)
    if code in _HOPELESS:
        return StoreRefused(message, code=code)
    return StoreUnavailable(message, code=code)


def _code(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"].get("Code", "")) if isinstance(error, ClientError) else type(error).__name__


def _reason(one: Mapping[str, Any]) -> Reason:
    mark = read_mark(one["Item"]) if one.get("Item") else None
    return Reason(one.get("Code", NONE), one.get("Message") or "", mark)


def _statement_reason(error: Mapping[str, Any] | None) -> Reason:
    return Reason(error.get("Code", ""), error.get("Message") or "") if error else Reason(NONE)


def _consumed(answer: Mapping[str, Any]) -> float:
    return float(sum(table.get("CapacityUnits", 0.0) for table in answer.get("ConsumedCapacity", ())))


def _insert_statement(table: str, item: Sequence[Field]) -> str:
    members = ", ".join([f"'{name}': ?" for name, _ in item])
    statement = to_json(f'INSERT INTO "{table}" VALUE {{{members}}}')
    return f'{{"Statement":{statement},"Parameters":[{",".join([value for _, value in item])}]}}'
