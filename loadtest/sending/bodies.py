"""Bodies of deliveries: the provider's own sample, numbered, filled up to a size, with money where it has some."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_PADDING_CHARS = 1 << 20
_LETTERS = "abcdefghijklmnopqrstuvwxyz      ,.0123456789"


@dataclass(frozen=True, slots=True)
class Booking:
    """Money that an event moves: ``amount`` in minor units, never negative; a refund takes it back."""

    account: str
    currency: str
    amount: int
    is_refund: bool = False

    @property
    def change(self) -> int:
        """What the balance changes by."""
        return -self.amount if self.is_refund else self.amount


def is_booked(source: str, preset: str | None) -> bool:
    """Tell whether the example ledger books this source's deliveries."""
    return _booker(source, preset) is not None


def body(sample: bytes, *, source: str, preset: str | None, booking: Booking | None, mark: str, padding: str) -> bytes:
    """Return the sample with a member ``weir_load`` of the number ``mark`` and padding, and with the booking made.

    A sample that is not a JSON object is returned as it is: its provider sends none.
    """
    start = sample.lstrip()
    if not start.startswith(b"{"):
        return sample
    if booking is not None and (book := _booker(source, preset)) is not None:
        document = json.loads(sample)
        book(document, booking)
        start = json.dumps(document, separators=(",", ":")).encode()
    rest = start[1:].lstrip()
    comma = b"" if rest.startswith(b"}") else b","
    return b'{"weir_load":{"mark":"%b","pad":"%b"}%b%b' % (mark.encode(), padding.encode(), comma, rest)


class Padding:
    """Text to fill bodies with, that compresses about as far as prose does, or not at all."""

    def __init__(self, seed: int, *, incompressible: bool = False) -> None:
        generator = random.Random(seed)  # noqa: S311 - a load test must be repeatable
        if incompressible:
            self._text = b64encode(generator.randbytes(_PADDING_CHARS * 3 // 4)).decode("ascii")
        else:
            words = ["".join(generator.choices(_LETTERS, k=64)) for _ in range(2048)]
            self._text = "".join(generator.choices(words, k=_PADDING_CHARS // 64))

    def take(self, size: int, at: int) -> str:
        """Return ``size`` characters from somewhere, the same for the same ``at``."""
        start = at % len(self._text)
        text = self._text[start : start + size]
        while len(text) < size:
            text += self._text[: size - len(text)]
        return text


def _booker(source: str, preset: str | None) -> Callable[[dict[str, Any], Booking], None] | None:
    if preset == "stripe":
        return _book_stripe
    return _book_payment if source == "payments" else None


def _book_stripe(document: dict[str, Any], booking: Booking) -> None:
    document["account"] = booking.account
    document["type"] = "refund.created" if booking.is_refund else "charge.succeeded"
    document["data"]["object"] |= {"amount": booking.amount, "currency": booking.currency.lower()}


def _book_payment(document: dict[str, Any], booking: Booking) -> None:
    document["type"] = "payment.refunded" if booking.is_refund else "payment.succeeded"
    document["data"] |= {"account": booking.account, "amount": booking.amount, "currency": booking.currency}
