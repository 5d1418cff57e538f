"""Where one run takes place: a folder, an address with free ports, perhaps its own network, and started programs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme

PATIENCE = 20.0  # s for a program to listen, or to end
SYSTEM = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))  # where Debian has them, though not on all PATHs


def program(name: str) -> str | None:
    """Its path, if it is installed."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM)


@dataclass
class Place:
    """
    Attributes:
        under: The command under which programs join the network of this place; () for the machine's.
        certificate: A file with a key and a chain of certificates for the address.
        authority: The file of the authority that has signed it.
    """

    folder: Path
    address: str
    certificate: Path
    authority: Path
    under: tuple[str, ...] = ()
    started: list[Program] = field(default_factory=list)

    def port(self) -> int:
        """A port that is free on the address, which no other run has."""
        with socket.socket() as sock:
            sock.bind((self.address, 0))
            port: int = sock.getsockname()[1]
            return port

    def start(self, *command: str, log: str) -> Program:
        """Start a program whose output goes to the file *log* of the folder, which has its own process group."""
        with (self.folder / log).open("ab") as file:
            process = subprocess.Popen(
                [*self.under, *command],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(Program(process, self.folder / log))
        return self.started[-1]

    def python(self, module: str, *arguments: str, log: str) -> Program:
        return self.start(sys.executable, "-m", module, *arguments, log=log)

    def end(self) -> None:
        for each in reversed(self.started):
            each.end()


@dataclass
class Program:
    """A program that a run has started, which it signals and ends by its id."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def id(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def workers(self) -> list[int]:
        """Its child processes, the oldest first."""
        return [int(each) for each in Path(f"/proc/{self.id}/task/{self.id}/children").read_text().split()]

    def tell(self) -> None:
        """A line on its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def wait_for(self, text: str) -> None:
        """Until it has printed *text*."""
        self.wait_until(lambda: text in self.log.read_text())

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + PATIENCE
        while not is_so():
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                raise OSError(f"{self.process.args!r} doesn't run: {self.log.read_text()[-300:]}")
            time.sleep(0.005)

    def end(self) -> None:
        """Kill it and its workers, which are its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.id, signal.SIGKILL)
        self.process.wait(PATIENCE)
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()


def listens(under: Sequence[str], address: str, port: int) -> bool:
    """Whether something listens there; asked from the network that *under* joins."""
    if under:
        code = f"import socket; socket.create_connection(({address!r}, {port}), 5)"
        return not subprocess.run([*under, sys.executable, "-S", "-c", code], capture_output=True).returncode
    with socket.socket() as sock:
        return not sock.connect_ex((address, port))


@dataclass
class Places:
    """Makes places, each with an address of its own, so that runs at the same time don't meet."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)
    open: list[Place] = field(default_factory=list)

    def made(self, number: int) -> Place:
        """The place of run *number*."""
        address = f"127.{1 + os.getpid() % 250}.{number // 250}.{1 + number % 250}"
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        authority, certificate = folder / "authority.pem", folder / "certificate.pem"
        self.authority.cert_pem.write_to_path(str(authority))
        self.authority.issue_cert(address).private_key_and_cert_chain_pem.write_to_path(str(certificate))
        return Place(folder, address, certificate, authority)

    @contextmanager
    def place(self, number: int) -> Iterator[Place]:
        """The same; ends all that it has started."""
        place = self.made(number)
        self.open.append(place)
        try:
            yield place
        finally:
            self.open.remove(place)
            place.end()

    def end(self) -> None:
        """End the programs of all runs, because the benchmark is interrupted."""
        for place in tuple(self.open):
            place.end()
