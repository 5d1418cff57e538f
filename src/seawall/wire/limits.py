"""How much a server may send before its response is refused, whichever HTTP version it speaks."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_GAP", "MAX_HEAD", "MAX_HEADERS", "MAX_INTERIM", "MAX_PARTS"]

MAX_HEAD: Final = 256 * 1024  # B; hyper's is 400 KiB, Go's 1 MiB; httpx takes 100 to 164 KiB, by how they arrive
MAX_HEADERS: Final = 1000  # Apache and Tomcat have 100, nginx and h11 no number
MAX_INTERIM: Final = 100  # 1xx responses to one request; Go: as much as fits its limit on headers
MAX_GAP: Final = 16 * 1024  # B of chunk sizes, extensions and trailers without a byte of body; Go's, for extensions
MAX_PARTS: Final = 1024  # of a body that nobody has taken; then they are joined, because each costs 40 B or more
