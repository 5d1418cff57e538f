"""A client of a command, and what is said where the environment has what no client can use."""

from __future__ import annotations

from collections.abc import Callable

from .. import AsyncClient
from .complaint import plainly
from .exit_codes import ExitCode

__all__ = ["BadEnvironment", "made"]


class BadEnvironment(ValueError):
    """
    A variable of the environment can't be used; the message names it.

    Attributes:
        code: The exit status of ``seawall get``.
    """

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.code = code


def made(make: Callable[[], AsyncClient]) -> AsyncClient:
    """
    The client that *make* returns, whose own settings are known to be good.

    Raises:
        BadEnvironment: The environment names authorities that can't be read, or a proxy that needs a package or can't
            be.
    """
    try:
        return make()
    except OSError as error:
        text = f"SSL_CERT_FILE or SSL_CERT_DIR: {plainly(error.strerror or str(error))}"
        raise BadEnvironment(text, ExitCode.AUTHORITIES) from None
    except (ImportError, ValueError) as error:
        text = f"HTTP_PROXY, HTTPS_PROXY or ALL_PROXY: {plainly(str(error))}"
        raise BadEnvironment(text, ExitCode.PROXY) from None
