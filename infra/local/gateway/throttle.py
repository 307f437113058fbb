"""Throttling of a stage's methods by token buckets.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from weir.ingest.errors import TemplateUnsupported

# Logs and metrics of CloudWatch, which this machine does not have; they change no answer.
_WITHOUT_EFFECT = {"MetricsEnabled", "LoggingLevel", "DataTraceEnabled"}
_KNOWN = {"ResourcePath", "HttpMethod", "ThrottlingRateLimit", "ThrottlingBurstLimit", *_WITHOUT_EFFECT}


class Bucket:
    """Lets ``rate_per_s`` requests through on average and ``burst`` at once; it starts full."""

    __slots__ = ("_burst", "_filled_s", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._filled_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token; False if there is none."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._rate_per_s)
        self._filled_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Throttles:
    """The limits of a stage, from its MethodSettings; each method has a bucket of its own."""

    def __init__(self, method_settings: Iterable[Mapping[str, Any]]) -> None:
        self._limits: dict[tuple[str, str], tuple[float, float]] = {}
        for settings in method_settings:
            where = f"MethodSettings {settings.get('ResourcePath')} {settings.get('HttpMethod')}"
            if unknown := set(settings) - _KNOWN:
                raise TemplateUnsupported("unknown method settings:", where=where, found=sorted(unknown))
            rate = settings.get("ThrottlingRateLimit")
            burst = settings.get("ThrottlingBurstLimit")
            if (rate is None) != (burst is None):
                raise TemplateUnsupported("a throttle needs a rate and a burst", where=where)
            if rate is not None and burst is not None:
                self._limits[_path(settings["ResourcePath"]), settings["HttpMethod"]] = (float(rate), float(burst))

    def bucket(self, resource_path: str, method: str, now_s: float) -> Bucket | None:
        """Return the bucket of one method; None if nothing limits it."""
        limits = self.of(resource_path, method)
        return None if limits is None else Bucket(*limits, now_s)

    def of(self, resource_path: str, method: str) -> tuple[float, float] | None:
        """Return rate and burst of one method, by the settings nearest to it; None if nothing limits it."""
        for path, name in ((resource_path, method), (resource_path, "*"), ("/*", method), ("/*", "*")):
            if limits := self._limits.get((path, name)):
                return None if limits[0] < 0 else limits
        return None


def _path(encoded: str) -> str:
    """Decode a resource path of CloudFormation: ``/~1v1~1github`` is ``/v1/github``."""
    return encoded.removeprefix("/").replace("~1", "/") if "~1" in encoded else encoded
