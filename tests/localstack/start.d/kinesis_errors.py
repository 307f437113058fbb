"""Inside LocalStack, for tests: PutRecord to a stream named ``answers-CODE`` is answered with that error of Kinesis.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html#API_PutRecord_Errors
"""

from localstack.aws.api import CommonServiceException
from localstack.services.kinesis import provider

_put_record = provider.KinesisProvider.put_record


def _answering(self, context, *args, **kwargs):
    stream = kwargs.get("stream_name") or ""
    if stream.startswith("answers-"):
        code = stream.removeprefix("answers-")
        status = 500 if code == "InternalFailure" else 400
        raise CommonServiceException(code, f"{code} was asked for", status_code=status)
    return _put_record(self, context, *args, **kwargs)


provider.KinesisProvider.put_record = _answering
