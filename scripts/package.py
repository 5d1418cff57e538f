"""
Builds the sdist and the wheel, checks both, and tries the wheel alone in a fresh environment of each Python here.

``python scripts/package.py [--out FOLDER] [--tag v0.1.0]``; needs the packages ``build`` and ``twine``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def run(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout


def pythons() -> dict[str, str]:
    """An interpreter for each version that is here."""
    found: dict[str, str] = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        named = shutil.which(f"python{version}")
        for each in ([named] if named else []) + sorted(map(str, pyenv.glob(f"{version}.*/bin/python3"))):
            done = subprocess.run([each, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"],
                                  capture_output=True, text=True)  # fmt: skip
            if done.stdout.strip() == version:
                found.setdefault(version, each)
    return found


def check_version(tag: str) -> None:
    """The tag, the package and the changelog must name the same version."""
    version = re.search(r'^__version__ = "(.*)"$', (ROOT / "src/seawall/__init__.py").read_text(), re.MULTILINE)
    assert version is not None
    if tag and tag != f"v{version[1]}":
        raise SystemExit(f"the tag is {tag}, and the package is {version[1]}")
    if f"\n## [{version[1]}]" not in (ROOT / "CHANGELOG.md").read_text():
        raise SystemExit(f"CHANGELOG.md has no part for {version[1]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--out", type=Path, help="where the files stay; nowhere by default")
    parser.add_argument("--tag", default="", help="the version must be this one, with a v before it")
    options = parser.parse_args()
    check_version(options.tag)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
        files = sorted(folder.iterdir())
        run(sys.executable, "-m", "twine", "check", "--strict", *files)
        print(f"built and checked: {', '.join(each.name for each in files)}", flush=True)
        (wheel,) = folder.glob("*.whl")
        for version, python in pythons().items():
            environment = folder / version
            run(python, "-m", "venv", environment)
            inside = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
            run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
            print(run(inside, "-I", ROOT / "tests/package/smoke.py"), end="", flush=True)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            for each in files:
                shutil.copy(each, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
