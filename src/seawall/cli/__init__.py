"""The command ``seawall``; needs the extra ``cli``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("rich", "typer", "dns"):
            raise
        sys.exit(f"the seawall command needs {error.name}: pip install 'seawall[cli]'")
    app()
