"""A file from a URL, whole or not at all, over as many calls as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias

from ..core import clock
from ..core.deadline import CALLER, deadline, inherited
from ..core.timer import Timer
from ..errors import BadAnswer, CallerLeft, DeadlineExceeded
from .digest import Digest, digests_of
from .downloaded import Download
from .durable import sync, sync_folder
from .part import Part
from .request import Reply, Request
from .resume import Append, Complete, Fail, Kept, StartOver, decide, headers_for, is_coded
from .resumptions import PROGRESS, Resumptions

__all__ = ["Progress", "download"]

MAX_CHANGES: Final = 3  # one is a deployment in the middle; a file that changes all the time is never had whole

Progress: TypeAlias = Callable[[int, int | None], object]


async def download(
    request: Request,
    path: str | PathLike[str],
    *,
    sha256: Digest | None = None,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> Download:
    """
    Have *path* hold what *request* gets; see `AsyncClient.download`.

    Args:
        timeout: Seconds for all of it; None sets no limit of its own.
    """
    began_at = request.layers.in_flight.on_loop()()
    part = Part(Path(path))
    try:
        with nullcontext() if timeout is None else deadline(timeout):
            caller, ends_at = CALLER.get(), inherited()
            timer = Timer(request.layers.in_flight.timers, ends_at)
            try:
                with timer:
                    if caller is not None:
                        caller.timers.add(timer)
                    done = await _Run(request, part, sha256, progress).whole()
            except TimeoutError as error:
                if not timer.is_expired:
                    raise
                raise request.adopt(_exceeded(request, part, began_at, ends_at)) from error
            finally:
                if caller is not None:
                    caller.timers.discard(timer)
        await asyncio.to_thread(sync_folder, part.path.absolute().parent)  # however late, because the file is there
        return done
    except Exception as error:
        if part.size and part.is_of_url:
            error.add_note(f"seawall: {part.size} bytes are kept in {part.partial}, for the next download of this URL")
        raise
    finally:
        part.close()


class _Run:
    """One download, from its first call to its last."""

    def __init__(self, request: Request, part: Part, sha256: Digest | None, progress: Progress | None) -> None:
        self._request = request
        self._part = part
        self._sha256 = sha256
        self._progress = progress
        self._resumptions = Resumptions(request)
        self._furthest = 0  # byte that any call has come to, at the last progress
        self._can_resume = request.method == "GET"  # RFC 9110 section 14.2: no other method has ranges
        self._is_of_one = False  # it came in one answer
        self._received = self._changes = self._restarts = 0
        self._etag: str | None = None
        self._digests: list[Digest] = []

    async def whole(self) -> Download:
        part, request = self._part, self._request
        kept = part.kept(request.url) if self._can_resume else Kept()
        self._furthest = kept.size
        if kept.validator is not None and kept.validator.startswith('"'):
            self._etag = kept.validator
        try:
            while True:
                while (rest := await self._call(kept)) is not None:
                    kept = rest
                if await self._verified():
                    break
                kept = Kept()
        finally:
            self._resumptions.close()
        await asyncio.to_thread(sync, part.partial)
        part.publish()
        return Download(
            path=part.path,
            size=part.size,
            received=self._received,
            resumptions=self._resumptions.count,
            etag=self._etag,
            verified=tuple(digest.source for digest in self._digests),
            attempts=self._resumptions.history(),
        )

    async def _call(self, kept: Kept) -> Kept | None:
        """One call; what is on disk then, None if that is the whole file."""
        reply = await self._resumptions.send(headers_for(kept))
        try:
            verdict = decide(kept, reply.status_code, reply.headers)
            if isinstance(verdict, Complete):
                return None
            if isinstance(verdict, Fail):
                reply.raise_for_status()
                raise self._failed(verdict.reason)
            if verdict.is_changed:
                self._changed()
            if isinstance(verdict, StartOver):
                self._part.discard()
                self._resumptions.again()
                return Kept()
            if not self._can_resume:
                verdict = replace(verdict, version=replace(verdict.version, validator=None))
            error = await self._write(reply, verdict)
        finally:
            await reply.aclose()
        return await self._after(verdict, error)

    async def _write(self, reply: Reply, verdict: Append) -> Exception | None:
        """Write its body; returns the error with which it broke off, if it did."""
        part, stop, progress, length = self._part, verdict.stop, self._progress, verdict.version.length
        self._etag = reply.headers.get("etag", self._etag if verdict.at else None)
        part.begin(self._request.url, verdict.version, verdict.at)
        self._is_of_one = verdict.at == 0
        is_decoded = is_coded(reply.headers)
        digests = [] if is_decoded else list(digests_of(reply.headers, verdict.at, stop))
        kept = self._digests if verdict.at else []
        if any(each.source == "Repr-Digest" for each in digests):  # of the same file, so that one is checked
            kept = [each for each in kept if each.source != "Repr-Digest"]
        self._digests = [*kept, *digests]
        try:
            async for data in reply.aiter_bytes() if is_decoded else reply.aiter_raw():
                self._received += len(data)
                if stop is not None and part.size + len(data) > stop:
                    part.begin(self._request.url, verdict.version, verdict.at)  # nothing of it is to be trusted
                    raise self._failed(f"it sent more than the {stop - verdict.at} bytes that it said it would")
                part.write(data)
                if progress is not None:
                    progress(part.size, length)
            if stop is not None and part.size < stop:
                raise self._failed(f"it sent {part.size - verdict.at} of {stop - verdict.at} bytes")
        except Exception as error:
            self._digests = [each for each in self._digests if each not in digests or each.source != "Content-Digest"]
            if not self._request.is_failure(error):
                raise
            return error
        return None

    async def _after(self, verdict: Append, error: Exception | None) -> Kept | None:
        """What is on disk after a body that was written, as far as it came; None if that is the whole file."""
        part, version = self._part, verdict.version
        if error is None and (version.length is None or part.size >= version.length):
            return None
        has_progressed = part.size - self._furthest >= PROGRESS
        if has_progressed:
            self._furthest = part.size
            self._resumptions.progressed()
        if error is None and has_progressed:
            self._resumptions.again()  # a server may send as much at once as it likes
        else:
            short = f"it sent only {part.size - verdict.at} bytes of the range that was asked for"
            await self._resumptions.after(error or self._failed(short))
        return Kept(part.size, version.validator, version.length)

    async def _verified(self) -> bool:
        """
        Whether the file has all its digests. If not, what is on disk is thrown away.

        Returns:
            False: The file was put together from several answers, so it is worth to ask for it once more.
        Raises:
            BadAnswer: It came in one answer, or was asked for once more already.
        """
        checks = ([] if self._sha256 is None else [self._sha256]) + self._digests
        for digest in checks:
            if await asyncio.to_thread(digest.is_of, self._part.partial):
                continue
            size = self._part.size
            self._part.discard()
            if not (self._is_of_one or self._restarts):
                self._restarts += 1
                self._resumptions.again()
                self._digests.clear()
                return False
            text = f"{size} bytes came, and don't have the digest of {digest.source}; they were thrown away"
            raise self._failed(text)
        self._digests = checks
        return True

    def _changed(self) -> None:
        self._changes += 1
        if self._changes > MAX_CHANGES:
            raise self._failed(f"the file changed {self._changes} times on the server while it was downloaded")

    def _failed(self, text: str) -> Exception:
        origin = self._request.origin
        error = self._request.adopt(BadAnswer(f"{origin}: {text}", origin=origin))
        error.attempts = self._resumptions.history()  # type: ignore[attr-defined]
        return error


def _exceeded(request: Request, part: Part, began_at: float, ends_at: float | None) -> DeadlineExceeded:
    elapsed, caller = clock.now() - began_at, CALLER.get()
    facts = {"origin": request.origin, "elapsed": elapsed}
    if caller is not None and caller.has_left:
        return CallerLeft(f"{request.origin}: the inbound caller left after {elapsed:.3g} s", timeout=elapsed, **facts)
    timeout = elapsed if ends_at is None else ends_at - began_at
    text = f"{request.origin}: deadline of {timeout:.3g} s exceeded, with {part.size} bytes downloaded; raise deadline="
    return DeadlineExceeded(text, timeout=timeout, **facts)
