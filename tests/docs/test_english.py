"""The English of all that a user reads: as far as grep can tell, no pattern is left at which an engineer stumbles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.tutorial import ROOT

PERSON = r"callers?|people|stranger|attacker|readers?|users?|operators?|somebody|anybody|everybody|nobody|those"
PATTERNS = {  # what is found, and what to write in its place
    r"\bwho\b": "the actor: a caller, a waiter, a client",
    r"(?<!there )\b(?:is|are|was|were) no\b(?! longer)": "is not a",
    r"\bnone: (?:none|no)\b": "None disables it, None sets no limit",
    r"(?<![\d.] )\bs until\b": "seconds until",
    r"\bof what\b": "the thing's name",
    r"\bunder way\b": "in flight",
    r"\b(?:is|are|was|were) to be\b": "must",
}
FINE = re.compile(rf"\b(?:{PERSON}),? who\b|\bcaller of [^.;:]{{1,30}} who\b|\bwho:|who tests it", re.IGNORECASE)
GENERATED = ("httpx2",)  # from _httpx

HEADLESS = re.compile(r"(?:^|(?<=[.!?] ))(?:What|Who) [^.?!:|]*\.(?: |$)")
"""A sentence whose subject is a clause; a question and a label that ends with a colon are none."""


def pages() -> Iterator[tuple[str, str]]:
    """Each paragraph, item and row of README and docs, without code."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for part in re.split(r"\n\s*\n|\n(?=\s*(?:[-|#]|\d+\. ))", text):
            yield str(path.relative_to(ROOT)), " ".join(part.split())


def strings() -> Iterator[tuple[str, str]]:
    """Each text in the source: docstrings, messages, helps of the command."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        if path.parent.name in GENERATED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", " ".join(node.value.split())


def found(pattern: str, text: str) -> str:
    """The place of *text* where *pattern* is, with its neighbours, or ""."""
    for match in re.finditer(pattern, text, re.IGNORECASE):
        place = text[max(0, match.start() - 40) : match.end() + 30]
        if "who" not in pattern or not FINE.search(text[max(0, match.start() - 40) : match.end() + 10]):
            return place
    return ""


TEXTS = [*pages(), *strings()]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_text_has(pattern):
    """The message says where, and what to write in its place."""
    places = [f"{where}: ...{place}..." for where, text in TEXTS if (place := found(pattern, text))]
    assert places == [], f"write: {PATTERNS[pattern]}"


def test_no_sentence_of_a_page_begins_without_an_actor():
    """Each sentence names its actor. Only tables and titles may begin with "What is sent" or "Who waits"."""
    assert [(where, match[0]) for where, text in pages() if text[:1] != "|" for match in HEADLESS.finditer(text)] == []


@pytest.mark.parametrize(
    ("pattern", "text", "is_found"),
    [
        (r"\bwho\b", "for who fetches the URLs that strangers give", True),
        (r"\bwho\b", "a caller who waits", False),
        (r"\bnone: (?:none|no)\b", "budget: the layer. None: none.", True),
        (r"(?<![\d.] )\bs until\b", "error.retry_after: s until a probe", True),
        (r"(?<![\d.] )\bs until\b", "it waits 5 s until then", False),
        (r"(?<!there )\b(?:is|are|was|were) no\b(?! longer)", "that is no failure", True),
        (r"(?<!there )\b(?:is|are|was|were) no\b(?! longer)", "there is no such name", False),
    ],
)
def test_patterns(pattern, text, is_found):
    """They find the examples of the house's style, and leave good English alone."""
    assert bool(found(pattern, text)) == is_found
