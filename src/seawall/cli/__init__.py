"""The command ``seawall``; needs the extra ``cli``."""

from __future__ import annotations

import sys

from .stdout import NAME, abandon_output, buffer_output, is_output_lost

__all__ = ["main"]

EXTRAS = {
    "dns": "cli",
    "rich": "cli",
    "typer": "cli",
    "protego": "fetch",
    "taskiq": "taskiq",
    "taskiq_redis": "taskiq",
}  # package → the extra that brings it


def main() -> None:
    """Entry point."""
    buffer_output()
    try:
        from .app import app

        app()  # a command imports what only it needs
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        sys.exit(f"the seawall command needs {error.name}: pip install 'seawall[{EXTRAS[name]}]'")
    except OSError as error:
        if not is_output_lost(error):
            raise
        abandon_output()
        sys.exit(f"seawall: {NAME}: {error.strerror}")
