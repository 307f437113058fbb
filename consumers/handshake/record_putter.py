"""Writing one record to the stream, and what it means if Kinesis refuses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from weir.consumers.handshake.responder import KeyTooLong, RecordTooLarge


def record_putter(client: Any, stream: str) -> Callable[[str, bytes], str]:
    """Return a function that stores one record under a partition key and returns its sequence number."""

    def put(partition_key: str, data: bytes) -> str:
        try:
            answer = client.put_record(StreamName=stream, PartitionKey=partition_key, Data=data)
        except ClientError as error:
            raise _refused_record(error) from error
        return str(answer["SequenceNumber"])

    return put


def _refused_record(error: ClientError) -> Exception:
    """Tell by Kinesis' message what the mapping template of the gateway tells by it."""
    code, message = str(error.response["Error"]["Code"]), str(error.response["Error"].get("Message", ""))
    if "partitionKey" in message or "artition key" in message:
        return KeyTooLong()
    marks = ("'data'", "too large", "ecord size", "less than or equal to")
    return RecordTooLarge() if code == "RequestEntityTooLarge" or any(mark in message for mark in marks) else error
