"""What events say of an error, and what an error says of its call."""

from __future__ import annotations

import re
from typing import Final

from ..config import Retry
from ..errors import SeawallError
from ..events import History
from .exchange import Request

__all__ = ["about", "said"]

MAX_PATH: Final = 100  # characters of a path in an error's text
SECRET: Final = re.compile(
    r"""(?P<before>://)[^/\s'"<>]*@"""  # userinfo
    r"""|(?<=[^\s'"<>])[?\#][^\s'"<>]+"""  # query or fragment, of a URL or a path
    r"""|\bb(?P<quote>['"])(?:\\.|(?!(?P=quote)).)*(?:(?P=quote)|\Z)""",  # bytes as Python shows them: a header, a body
    re.DOTALL,
)


def said(error: BaseException) -> tuple[str, str]:
    """
    The class and the text of *error*.

    Ours never quote a request. Another transport's do (h11 shows the header that it refuses, many the whole URL), so of
    their text userinfo, queries, fragments and bytes are left out: events go to logs, traces and dashboards.
    """
    name, text = type(error).__name__, str(error)
    return name, text if isinstance(error, SeawallError) else SECRET.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    return found["before"] or ("b'…'" if found["quote"] else "")


def about(request: Request, history: History, retry: object, took: float) -> str:
    """
    What failed: the request, how often it was tried, how far the last attempt got, and how long all took.

    Args:
        retry: The settings of retries, or None.
        took: Seconds since the call began.
    """
    path = request.path if len(request.path) <= MAX_PATH else f"{request.path[:MAX_PATH]}..."
    if not history:
        return f"{request.method} {path}, before the first attempt"
    last, most = history[-1], retry.max_attempts if isinstance(retry, Retry) else 1
    number = f"{last.number} of {max(most, last.number)}"  # redirects count too
    return f"{request.method} {path}, attempt {number}, {last.phase.name.lower()}, {took:.3g} s in all"
