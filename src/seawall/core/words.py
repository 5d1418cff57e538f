"""What events say of an error."""

from __future__ import annotations

import re
from typing import Final

from ..errors import SeawallError

__all__ = ["said"]

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
