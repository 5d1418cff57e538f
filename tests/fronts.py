"""
The HTTP libraries that seawall has a front for, and test modules that run over each.

pytest collects a module that is marked with ``each_front`` twice: as it is written, over httpx; and below that, as
``test_x.py::httpx2``, with its source renamed as ``scripts/twin.py`` renames the front itself. So there a class that
derives from one of the library's, a parameter that holds its errors, and a program that a test starts are httpx2's.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import httpx
import httpx2
import pytest
from _pytest.assertion.rewrite import rewrite_asserts
from scripts.twin import renamed

import seawall
import seawall.httpx2
import seawall.testing._httpx
import seawall.testing.httpx2


class Front(NamedTuple):
    """
    One library, and seawall over it.

    Attributes:
        httpx: The library.
        seawall: Has the public names of `seawall`, with the clients and transports of this front.
        testing: Has its fakes.
    """

    httpx: Any
    seawall: Any
    testing: Any


OVER_HTTPX2 = SimpleNamespace(
    **{**vars(seawall), **{name: getattr(seawall.httpx2, name) for name in seawall.httpx2.__all__}}
)
FRONTS = {
    "httpx": Front(httpx, seawall, seawall.testing._httpx),
    "httpx2": Front(httpx2, OVER_HTTPX2, seawall.testing.httpx2),
}
RENAMED = (
    (re.compile(r"(\bimport (\w+, )*seawall)$", re.MULTILINE), r"\1.httpx2"),
    (re.compile(r"\bseawall\.testing import\b"), "tests.over_httpx2 import"),
    (re.compile(r"\bseawall(\.testing)?\._httpx\b"), r"seawall\1.httpx2"),
)


@pytest.fixture(params=FRONTS)
def lib(request: pytest.FixtureRequest) -> Front:
    """Each front in turn."""
    return FRONTS[request.param]


@pytest.fixture
def front(request: pytest.FixtureRequest) -> Front:
    """The front that the test's module runs over."""
    return FRONTS["httpx2" if request.node.getparent(OverHttpx2) else "httpx"]


class OverEachFront(pytest.Module):
    """A test module that also runs over httpx2 if it is marked so, and if it holds anything to rename."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        yield from super().collect()
        if self.get_closest_marker("each_front"):
            source = self.path.read_text(encoding="utf-8")
            if (over_httpx2 := over(source)) != source:
                nodeid = f"{self.nodeid}::httpx2"
                yield OverHttpx2.from_parent(self, name="httpx2", nodeid=nodeid, path=self.path, source=over_httpx2)


class OverHttpx2(pytest.Module):
    """The same module with its source renamed, without hypothesis' tests, because these take long."""

    def __init__(self, *, source: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._source = source

    def _getobj(self) -> ModuleType:
        name = f"{self.parent.obj.__name__}_{self.name}"
        module = sys.modules[name] = ModuleType(name)  # where pickle looks for its classes
        module.__file__, module.__package__ = str(self.path), self.parent.obj.__package__
        tree = ast.parse(self._source, str(self.path))
        rewrite_asserts(tree, self._source.encode(), str(self.path), self.config)
        exec(compile(tree, str(self.path), "exec", dont_inherit=True), vars(module))
        return module

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        for item in super().collect():
            if not getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                yield item


def over(source: str) -> str:
    """*source* of a test module, over httpx2."""
    source = renamed(source)
    for pattern, new in RENAMED:
        source = pattern.sub(new, source)
    return source


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    return OverEachFront.from_parent(parent, path=module_path)
