"""
Jobs: work that a queue may run again, whose requests must then be recognised by their servers.

Rules: a key is made of the job's id and of the request itself, not of the order of requests, because tasks of a job may
run in another order the second time, and a key must never stand for another request. Equal requests are told apart by
their number; which of them is which doesn't matter, because they are equal.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..config.check import shown
from .exchange import Request

__all__ = ["JOB", "Job", "job"]

LENGTH = 32  # hexadecimal digits of a key, as many as a UUID has


class Job:
    """One run of a job; the next run makes the same keys for the same requests."""

    __slots__ = ("_id", "_seen")

    def __init__(self, job_id: str) -> None:
        self._id = job_id.encode("utf-8", "surrogatepass")
        self._seen: Counter[bytes] = Counter()

    def key(self, request: Request) -> str:
        """The Idempotency-Key of *request*, in quotes, as the draft has it. Equal requests get different ones."""
        fingerprint = request.part(_fingerprint)
        assert isinstance(fingerprint, bytes)
        self._seen[fingerprint] += 1
        made = hashlib.sha256(self._id)
        made.update(fingerprint + self._seen[fingerprint].to_bytes(8, "big"))
        return f'"{made.hexdigest()[:LENGTH]}"'


def _fingerprint(request: Any) -> bytes:
    """A digest of an HTTP library's *request*: method, URL, and body if that is in memory."""
    try:
        content = request.content
    except RuntimeError:  # it isn't in memory
        content = b""
    return hashlib.sha256(f"{request.method} {request.url}\n".encode() + content).digest()


JOB: ContextVar[Job | None] = ContextVar("seawall_job", default=None)


@contextmanager
def job(job_id: str) -> Iterator[None]:
    """
    All calls inside, by this task and by tasks that it starts, are of one job, which its queue may run again.

    Then the Idempotency-Keys that seawall makes (``Retry(idempotency_key=True)``) are the same in each run, because
    they are made of the job's id and the request's method, URL and body. So a server that enforces keys acts once,
    however often the job runs. A streamed or multipart body is left out. A request whose body differs from run to run,
    because it has a time in it, needs a key of its own: ``headers={"Idempotency-Key": f'"{job_id}-order"'}``.

    Args:
        job_id: The queue's id of the job, the same in each run. A key is as hard to guess as this.
    Raises:
        TypeError, ValueError: *job_id* is not a str, or is empty.
    """
    if not isinstance(job_id, str):
        raise TypeError(f"job: the id must be a str, not {shown(job_id)}")
    if not job_id:
        raise ValueError("job: the id must not be empty, because all jobs would then share their keys")
    token = JOB.set(Job(job_id))
    try:
        yield
    finally:
        JOB.reset(token)
