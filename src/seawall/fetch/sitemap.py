"""`Sitemap`: the URLs of a sitemap's XML, or of an index of sitemaps, as its bytes come (sitemaps.org)."""

from __future__ import annotations

from typing import Final
from xml.parsers import expat

from .lines import MAX_LINE

__all__ = ["NotASitemap", "Sitemap"]

ROOTS: Final = {"urlset": False, "sitemapindex": True}  # name → whether its URLs are those of sitemaps
MAX_DEPTH: Final = 16


class NotASitemap(ValueError):
    """The XML isn't a sitemap's, breaks off, or is of a kind that sitemaps don't need and attackers do."""


class Sitemap:
    """
    Reads a sitemap without keeping it. It refuses a document type, because only that can declare entities, which a few
    bytes of XML can make gigabytes of.

    Attributes:
        is_index: Whether its URLs are those of further sitemaps; known once the first of them is there.
    """

    def __init__(self) -> None:
        self.is_index = False
        self._path: list[str] = []
        self._text: list[str] | None = None
        self._length = 0
        self._found: list[str] = []
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data

    def feed(self, data: bytes) -> None:
        """
        Raises:
            NotASitemap: It isn't one; `take` has what came before.
        """
        self._parse(data)

    def end(self) -> None:
        """
        Raises:
            NotASitemap: It isn't whole.
        """
        self._parse(b"", is_final=True)

    def take(self) -> list[str]:
        """The URLs that have become complete since it was asked last."""
        found, self._found = self._found, []
        return found

    def _parse(self, data: bytes, *, is_final: bool = False) -> None:
        try:
            self._parser.Parse(data, is_final)
        except expat.ExpatError as error:
            raise NotASitemap(f"its XML is wrong: {error}") from None
        except (LookupError, ValueError) as error:
            raise NotASitemap(f"its XML is in a coding that isn't read ({error}): convert it to UTF-8") from None

    def _doctype(self, *_: object) -> None:
        raise NotASitemap("its XML declares a document type, which a sitemap doesn't need")

    def _start(self, name: str, _: object) -> None:
        local = name.rpartition(":")[2]
        if not self._path:
            if local not in ROOTS:
                raise NotASitemap(f"its XML is <{local[:50]}>, and neither <urlset> nor <sitemapindex>")
            self.is_index = ROOTS[local]
        if len(self._path) == MAX_DEPTH:
            raise NotASitemap(f"its XML nests deeper than {MAX_DEPTH} elements")
        self._path.append(local)
        if self._path[1:] in (["url", "loc"], ["sitemap", "loc"]):
            self._text, self._length = [], 0

    def _data(self, text: str) -> None:
        if self._text is None:
            return
        self._length += len(text)
        if self._length > MAX_LINE:
            raise NotASitemap(f"a URL in it is longer than {MAX_LINE} characters")
        self._text.append(text)

    def _end(self, _: str) -> None:
        self._path.pop()
        if self._text is not None:
            self._found.append("".join(self._text).strip())
            self._text = None
