"""
Runs a library's own tests of its client with its `AsyncClient` and with ours, and prints what fails with ours only.

``python scripts/their_tests.py httpx`` takes the tests from the source distribution of the version that is installed.
httpx2's has none, so ``httpx2`` runs httpx's tests under httpx2's names; ``--tests FOLDER`` runs those of a checkout of
its repository instead. All is made in a temporary folder; what the tests need and isn't installed goes there too.

Rules: these are the tests in folders named ``client`` and in files that name `AsyncClient`. Those on trio are left out,
because seawall is for asyncio. Some fail without seawall too, such as those that need the internet.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path

from twin import renamed

SOURCE = Path(__file__).parent.parent / "src"
SECONDS = 900.0  # for a run of the tests, which takes half a minute
FRONTS = {"httpx": "seawall", "httpx2": "seawall.httpx2"}
NEEDED = {  # a module that the tests need beside our extra dev, and what to install for it
    "chardet": "chardet<6",  # 6 gives another name to a charset that a test asserts
    "sniffio": "sniffio",
    "socksio": "socksio",
    "zstandard": "zstandard",
}
PLUGIN = """
import {library}
import {front}

{library}.AsyncClient = {front}.AsyncClient
"""


def pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words], check=True)


def install_missing(folder: Path) -> None:
    """Installs what the tests need and isn't there into *folder*, so that the caller's environment stays as it is."""
    missing = [wanted for module, wanted in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(f"not installed, so only in the temporary folder: {', '.join(missing)}", flush=True)
        pip("install", "--no-deps", "--target", str(folder), *missing)


def downloaded(folder: Path) -> Path:
    """The unpacked source distribution of the httpx that is installed, without the library itself."""
    pip("download", "--no-deps", "--no-binary", "httpx", "--dest", str(folder), f"httpx=={version('httpx')}")
    (archive,) = folder.glob("httpx-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    unpacked = folder / archive.name.removesuffix(".tar.gz")
    shutil.rmtree(unpacked / "httpx")  # because the installed one is to be imported
    return unpacked


def tests_of(library: str, checkout: Path | None, folder: Path) -> Path:
    """
    Returns:
        The folder that pytest is to run in; its ``tests`` holds those of the library.
    """
    if checkout is not None:
        where = folder / "checkout"
        shutil.copytree(checkout / "tests", where / "tests")
        shutil.copy(checkout / "pyproject.toml", where)
        return where
    where = downloaded(folder)
    if library == "httpx2":
        for path in where.rglob("*.py"):
            path.write_text(renamed(path.read_text(encoding="utf-8")), encoding="utf-8")
    return where


def of_client(where: Path) -> list[str]:
    """The files that are to be run."""
    found = (where / "tests").rglob("test_*.py")
    chosen = (path for path in found if path.parent.name == "client" or "AsyncClient" in path.read_text("utf-8"))
    return sorted(str(path.relative_to(where)) for path in chosen)


def run(where: Path, folder: Path, plugins: tuple[str, ...]) -> dict[str, str]:
    """
    Returns:
        How each test ended: "" if it didn't fail, else the first line of the reason.
    """
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    words = [word for plugin in ("anyio", "no:cacheprovider", *plugins) for word in ("-p", plugin)]
    paths = map(str, (SOURCE, folder, folder / "packages"))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "not trio", f"--junitxml={report}", *words, *of_client(where)],
        cwd=where,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": os.pathsep.join(paths)},
        timeout=SECONDS,
        check=False,
        capture_output=True,
        text=True,
    )
    if ended.returncode not in (0, 1):  # 1: some tests failed
        raise SystemExit(f"pytest ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return {
        f"{case.get('classname')}::{case.get('name')}": "; ".join(
            each.get("message", "").partition("\n")[0] or each.tag for each in case if each.tag in ("failure", "error")
        )
        for case in ElementTree.parse(report).iter("testcase")
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("library", choices=FRONTS, nargs="?", default="httpx")
    parser.add_argument("--tests", metavar="FOLDER", type=Path, help="a checkout of the library's repository")
    options = parser.parse_args()
    library, front = options.library, FRONTS[options.library]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        install_missing(folder / "packages")
        (folder / "in_place.py").write_text(PLUGIN.format(library=library, front=front))
        where = tests_of(library, options.tests, folder)
        theirs = run(where, folder, ())
        ours = run(where, folder, ("in_place",))
    failing = {test: reason for test, reason in theirs.items() if reason}
    new = {test: ours.get(test, "not collected") for test in theirs.keys() - failing.keys() if ours.get(test, "?")}
    print(f"{library} {version(library)}: {len(theirs)} tests; {len(failing)} fail without seawall", end="")
    print(f"; {len(new)} fail only with {front}.AsyncClient")
    for title, tests in (("without seawall", failing), ("only with it", new)):
        for test, reason in sorted(tests.items()):
            print(f"{title}: {test}: {reason}")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
