"""Objects through a pipe, in both directions, one after another."""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any

__all__ = ["receive", "send"]

LENGTH = struct.Struct("!I")


def send(file: IO[bytes], what: object) -> None:
    data = pickle.dumps(what)
    file.write(LENGTH.pack(len(data)) + data)
    file.flush()


def receive(file: IO[bytes]) -> Any:
    """None at the end of the file."""
    head = file.read(LENGTH.size)
    return pickle.loads(file.read(*LENGTH.unpack(head))) if len(head) == LENGTH.size else None
