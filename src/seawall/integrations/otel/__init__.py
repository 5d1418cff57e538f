"""OpenTelemetry: metrics of calls and attempts, a span for each attempt, and the headers that tie traces together."""

from .observer import OTel

__all__ = ["OTel"]
