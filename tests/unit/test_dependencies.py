"""What `pyproject.toml` asks for: no version with a known hole, and none whose private names nobody has looked at."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
GROUPS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
ASKED = {
    requirement.name: requirement
    for group in ("", "http2", "testing")  # what users install
    for requirement in map(Requirement, GROUPS[group])
}

HOLES = {
    "anyio": "4.14.1",  # CVE-2026-63374, CVE-2026-64847
    "cryptography": "49.0.0",  # CVE-2026-69247
    "dnspython": "2.6.0",  # CVE-2023-29483
    "h2": "4.4.0",  # CVE-2026-71554; CVE-2025-57804 up to 4.2.0
    "hpack": "4.1.0",  # CVE-2026-59980
    "httpcore": "1.0.8",  # CVE-2025-43859, of the h11 that it takes
    "httptools": "0.6.2",  # CVE-2024-27982
    "idna": "3.14",  # CVE-2026-45409; CVE-2024-3651 up to 3.6
    "pycares": "4.9.0",  # CVE-2025-48945
}
"""The last release with a hole that is known."""

PRIVATE = {"httpx": "0.29.0", "httpcore": "1.1.0", "hpack": "5.0.0", "aiodns": "5.0.0"}
"""The first release whose private names may be others."""


@pytest.mark.parametrize("name", HOLES)
def test_no_release_with_a_known_hole(name):
    """What can be installed beside seawall is newer than the last one that is known to be open."""
    assert not ASKED[name].specifier.contains(HOLES[name])
    assert ASKED[name].specifier.contains(version(name))


@pytest.mark.parametrize("name", PRIVATE)
def test_no_release_with_other_private_names(name):
    """Where private names are used, a release that isn't a patch has to be looked at first."""
    assert not ASKED[name].specifier.contains(PRIVATE[name])


def test_every_requirement_has_a_floor():
    """Without one, a resolver may take a release of ten years ago."""
    for group, requirements in GROUPS.items():
        for requirement in map(Requirement, requirements):
            if requirement.name != "seawall":
                assert any(each.operator in (">=", "==", "~=") for each in requirement.specifier), (group, requirement)
