"""LocalStack as a place: what runs on an account of AWS, against LocalStack's endpoint and with its waits."""

from __future__ import annotations

from tests.conformance.account import Account
from tests.conformance.aws import Waits
from tests.conformance.bench import emulator


class LocalStack(Account):
    name = "localstack"
    about = "LocalStack 4.14 with the fixes of `infra/localstack/start.d`"
    at_once = 8
    limit_s = 150.0
    waits = Waits(patience=1.5)

    def __init__(self, endpoint: str) -> None:
        super().__init__(emulator(endpoint))
