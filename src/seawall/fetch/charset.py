"""`charset_of`: by which of Python's codecs the text of a response is decoded."""

from __future__ import annotations

import codecs
import re
from typing import Final

__all__ = ["charset_of"]

DEFAULT: Final = "utf-8"
TEXT: Final = re.compile(
    r"charset\s*=\s*[\"']?(utf-?8|utf-?(?:16|32)(?:-?[bl]e)?|(?:us-)?ascii|iso-8859-\d{1,2}|latin-?1|windows-125\d|"
    r"cp\d{3,4}|ibm\d{3}|koi8-[ru]|macintosh|tis-620|(?:x-)?s(?:hift[_-]?)?jis|euc-(?:jp|kr)|iso-2022-(?:jp|kr)|"
    r"gb2312|gbk|gb18030|big5(?:-hkscs)?)\b",
    re.I,
)  # a list, because a server may name any of Python's codecs: some make no text, some take minutes for a few megabytes


def charset_of(content_type: str) -> str:
    """
    The codec for the charset that *content_type* names; UTF-8 if it names none, or none that is on the list.

    Python lacks some charsets of the list's kinds, such as iso-8859-12, and then UTF-8 is as good a guess as any.
    """
    if (found := TEXT.search(content_type)) is None:
        return DEFAULT
    try:
        return codecs.lookup(found[1]).name
    except LookupError:
        return DEFAULT
