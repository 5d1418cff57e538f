# Written by scripts/twin.py from ../_httpx/__init__.py: change that file, and run the script.
"""
The border to httpx2: its request goes in; its response, or an error of its classes, comes out.

Rules: nothing here decides; the core does. httpx2 is imported in this folder only. Private names of httpx2 are listed and
checked in `private`; those of httpcore2 are held against the installed version by tests/unit/test_contracts.py. Nothing
here asks which library or version it is over, only for what that can do, because this source, with the names that
scripts/twin.py changes, is the front over either library, and an application may have put one in the other's place.
"""

try:
    import httpx2
except ModuleNotFoundError as error:
    if error.name != "httpx2":
        raise
    raise ImportError(f"{__name__} is over httpx2, which isn't installed: pip install httpx2") from error

from .client import AsyncClient
from .engine import Engine
from .llm import llm_client
from .transport import AsyncTransport

__all__ = ["AsyncClient", "AsyncTransport", "Engine", "llm_client"]

LIBRARY = httpx2.__name__

for _each in (AsyncClient, AsyncTransport, Engine, llm_client):
    _each.__module__ = __name__.removesuffix("._httpx")  # where users import them from
