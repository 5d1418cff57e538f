"""A logger that breaks nothing: the application's own filters, which may raise, see each of its lines."""

import logging
from contextlib import suppress

__all__ = ["Careful"]


class Careful:
    """A logger of that *name* whose methods, as those of `logging.Logger`, raise nothing that a filter raises."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def exception(self, text: str, *values: object) -> None:
        with suppress(Exception):
            self._logger.exception(text, *values, stacklevel=2)

    def debug(self, text: str, *values: object, error: BaseException | None = None) -> None:
        with suppress(Exception):
            self._logger.debug(text, *values, exc_info=error, stacklevel=2)

    def info(self, text: str, *values: object) -> None:
        with suppress(Exception):
            self._logger.info(text, *values, stacklevel=2)

    def warning(self, text: str, *values: object) -> None:
        with suppress(Exception):
            self._logger.warning(text, *values, stacklevel=2)
