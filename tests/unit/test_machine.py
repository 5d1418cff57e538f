"""The machine's files, read again when they change."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from pathlib import Path

import pytest

from seawall.dns import files, machine
from seawall.dns.machine import Machine, glibc_version
from seawall.dns.modules import Source
from seawall.dns.resolv_conf import ResolvConf

STUB = f"  1: {'3500007F' if sys.byteorder == 'little' else '7F000035'}:0035 00000000:0000 07\n"


class Here:
    """A machine whose files and time the test sets."""

    def __init__(self, etc: Path) -> None:
        self.etc, self.time = etc, 0.0
        (etc / "net").mkdir()
        self.machine = Machine(
            now=lambda: self.time,
            root=str(etc),
            run=str(etc),
            proc=str(etc),
            environ={},
            hostname=lambda: "machine.corp.test",
            glibc=(2, 36),
        )

    def write(self, name: str, text: str) -> None:
        """Another file under the same name, as editors and package managers make it."""
        (self.etc / "new").write_text(text)
        (self.etc / "new").rename(self.etc / name)

    async def later(self) -> Machine:
        self.time += machine.LOOK_EVERY
        await self.machine.looked_at()
        return self.machine

    def sources(self, name: str = "a.test") -> str:
        return " ".join(step.source.value for step in self.machine.steps(name))


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


async def test_missing_files(here: Here):
    """What glibc has then: DNS at 127.0.0.1, because without a hosts file `files` isn't available."""
    assert here.sources() == "system"  # not read yet
    assert here.machine.resolv == ResolvConf()
    await here.later()
    assert here.sources() == "dns"
    assert here.machine.resolv == ResolvConf(search=("corp.test",))
    assert here.machine.hosts.find("localhost") == ()


async def test_files(here: Here):
    """Each of the four is heeded."""
    here.write("hosts", "10.0.0.1 a\n10.0.0.2 a\n")
    here.write("host.conf", "multi on\n")
    here.write("resolv.conf", "nameserver 10.0.0.53\n")
    here.write("nsswitch.conf", "hosts: dns files\n")
    await here.later()
    assert here.machine.hosts.find("a") == ("10.0.0.1", "10.0.0.2")
    assert here.machine.resolv.nameservers == ("10.0.0.53",)
    assert here.sources() == "dns files"


async def test_change(here: Here):
    """It is noticed at the next look, a second later and not sooner; what didn't change isn't parsed again."""
    here.write("hosts", "10.0.0.1 a\n")
    await here.later()
    hosts, resolv = here.machine.hosts, here.machine.resolv
    here.write("hosts", "10.0.0.2 a\n")
    here.time += machine.LOOK_EVERY - 0.01
    await here.machine.looked_at()
    assert here.machine.hosts is hosts
    await here.later()
    assert here.machine.hosts.find("a") == ("10.0.0.2",)
    assert here.machine.resolv is resolv
    here.write("host.conf", "multi on\n")
    here.write("resolv.conf", "options rotate\n")
    here.write("nsswitch.conf", "hosts: files\n")
    await here.later()
    assert here.machine.resolv.rotate
    assert here.sources() == "files"
    hosts = here.machine.hosts
    here.write("resolv.conf", "")
    await here.later()
    assert here.machine.hosts is hosts
    (here.etc / "hosts").unlink()
    await here.later()
    assert here.machine.hosts.find("a") == ()


async def test_change_in_place(here: Here):
    """A file of the same size and time of modification is another one if its inode changed at another time."""
    here.write("hosts", "10.0.0.1 a\n")
    before = os.stat(here.etc / "hosts")
    await here.later()
    (here.etc / "hosts").write_text("10.0.0.2 a\n")
    os.utime(here.etc / "hosts", ns=(before.st_atime_ns, before.st_mtime_ns))
    await here.later()
    assert here.machine.hosts.find("a") == ("10.0.0.2",)


async def test_no_await(here: Here):
    """A caller goes on at once where nothing is to be read, and where small files are."""
    with pytest.raises(StopIteration):
        here.machine.looked_at().send(None)
    with pytest.raises(StopIteration):
        here.machine.looked_at().send(None)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path), lambda path: os.mkfifo(path)])
async def test_unreadable(here: Here, make):
    """A directory, a loop of links and a pipe are as good as missing."""
    make(here.etc / "hosts")
    make(here.etc / "nsswitch.conf")
    await here.later()
    assert here.sources() == "dns"


async def test_half_written(here: Here):
    """What stands there so far counts, and the rest when it is there."""
    (here.etc / "hosts").write_bytes(b"10.0.0.1 a\n10.0.\xff\0")
    (here.etc / "resolv.conf").write_bytes(b"nameserver 10.0.0.5")
    (here.etc / "nsswitch.conf").write_bytes(b"hosts: fil")
    await here.later()
    assert here.machine.hosts.find("a") == ("10.0.0.1",)
    assert here.machine.resolv.nameservers == ("10.0.0.5",)
    assert here.sources() == "files dns"
    (here.etc / "resolv.conf").write_bytes(b"nameserver 10.0.0.53\n")
    await here.later()
    assert here.machine.resolv.nameservers == ("10.0.0.53",)


@pytest.mark.parametrize("function", ["stat", "open"])
async def test_no_descriptor_left(here: Here, monkeypatch: pytest.MonkeyPatch, caplog, function: str):
    """
    Nothing changes then, and the next look tries again; a machine that was never read is left to the system. The log
    says it at DEBUG.
    """
    caplog.set_level("DEBUG", "seawall")

    def fails(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    here.write("hosts", "10.0.0.1 a\n")
    here.write("nsswitch.conf", "hosts: files\n")
    with monkeypatch.context() as patch:
        patch.setattr(*((files.os, "stat", fails) if function == "stat" else ("builtins.open", fails)))
        await here.later()
    assert here.sources() == "system"
    assert "looking whether it changed failed" in caplog.text
    await here.later()
    assert here.sources() == "files"
    here.write("hosts", "10.0.0.2 a\n")
    here.write("nsswitch.conf", "hosts: dns\n")
    with monkeypatch.context() as patch:
        patch.setattr(*((files.os, "stat", fails) if function == "stat" else ("builtins.open", fails)))
        await here.later()
    assert here.machine.hosts.find("a") == ("10.0.0.1",)
    assert here.sources() == "files"
    await here.later()
    assert here.machine.hosts.find("a") == ("10.0.0.2",)
    assert here.sources() == "dns"


LARGE = "10.0.0.1 a\n" + "# x\n" * (machine.MAX_AT_ONCE // 4)


async def test_large_hosts_file(here: Here):
    """All callers wait for the first reading; while it is read again, once, the old one serves."""
    here.write("hosts", LARGE)
    await asyncio.gather(*(here.machine.looked_at() for _ in range(3)))
    assert here.machine.hosts.find("a") == ("10.0.0.1",)
    here.write("hosts", LARGE.replace("10.0.0.1", "10.0.0.2"))
    here.time += machine.LOOK_EVERY
    with pytest.raises(StopIteration):
        here.machine.looked_at().send(None)
    assert here.machine.hosts.find("a") == ("10.0.0.1",)
    await here.machine.aclose()
    assert here.machine.hosts.find("a") == ("10.0.0.1",)
    await here.later()
    await here.later()
    (reading,) = [task for task in asyncio.all_tasks() if task.get_name() == "seawall-hosts"]
    await reading
    assert here.machine.hosts.find("a") == ("10.0.0.2",)


async def test_cancelled_while_a_large_hosts_file_is_read(here: Here):
    """The reading goes on for others."""
    here.write("hosts", LARGE)
    waiter = asyncio.create_task(here.machine.looked_at())
    await asyncio.sleep(0)
    waiter.cancel()
    await here.machine.looked_at()
    assert waiter.cancelled()
    assert here.machine.hosts.find("a") == ("10.0.0.1",)


async def test_no_thread_for_a_large_hosts_file(here: Here, monkeypatch: pytest.MonkeyPatch):
    """As where no descriptor is left: the next caller tries again, and no task's error is left over."""

    def fails(_):
        raise RuntimeError("can't start new thread")

    here.write("hosts", LARGE)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        await here.machine.looked_at()
    assert not here.machine.is_read
    assert here.machine._reading is not None
    assert here.machine._reading.exception() is None
    await here.machine.looked_at()
    assert here.machine.hosts.find("a") == ("10.0.0.1",)


async def test_closed_without_reading(here: Here):
    """There is nothing to end."""
    await here.machine.aclose()


async def test_stub(here: Here):
    """systemd-resolved's stub takes the place of resolv.conf's servers and search list while it listens."""
    here.write("hosts", "")
    here.write("resolv.conf", "nameserver 10.0.0.53\nsearch a.test\n")
    here.write("nsswitch.conf", "hosts: files resolve [!UNAVAIL=return] dns\n")
    here.write("net/udp", STUB)
    await here.later()
    assert here.sources() == "files dns"
    assert here.machine.resolv.nameservers == ("10.0.0.53",)  # another machine's stub, as far as nss-resolve knows
    (here.etc / "systemd" / "resolve").mkdir(parents=True)
    here.write("net/udp", "")
    await here.later()
    assert here.sources() == "files system"
    here.write("net/udp", STUB)
    await here.later()
    assert here.sources() == "files dns system"
    assert here.machine.resolv == ResolvConf(nameservers=("127.0.0.53",))
    here.write("nsswitch.conf", "hosts: dns resolve\n")
    await here.later()
    assert here.sources() == "dns system"
    assert here.machine.resolv.nameservers == ("10.0.0.53",)


async def test_unknown_services_are_told_once(here: Here, caplog: pytest.LogCaptureFixture):
    """Each by its name."""
    caplog.set_level("INFO", "seawall")
    here.write("nsswitch.conf", "hosts: files wins sss dns myhostname mdns4_minimal\n")
    await here.later()
    here.write("nsswitch.conf", "hosts: wins\n")
    await here.later()
    here.write("nsswitch.conf", "hosts: [x=y]\nhosts: files []\n")
    await here.later()
    assert [message.partition(" has ")[2].partition(":")[0] for message in caplog.messages] == [
        "sss",
        "wins",
        "an action or a line that isn't understood",
    ]
    assert here.sources() == "system"


@pytest.mark.usefixtures("broken_log")
async def test_log_that_raises_breaks_no_lookup(here: Here):
    """Neither the line of a service that is unknown, nor that of a file that can't be read."""
    here.write("nsswitch.conf", "hosts: files wins\n")
    await here.later()
    assert here.sources() == "system"
    here.write("nsswitch.conf", "hosts: files dns\n")
    await here.later()
    assert here.sources() != "system"


async def test_another_c_library(tmp_path: Path):
    """musl, macOS and Windows look names up by other rules, so that they are asked themselves."""
    (tmp_path / "hosts").write_text("10.0.0.1 a\n")
    other = Machine(now=lambda: 0.0, root=str(tmp_path), glibc=None)
    await other.looked_at()
    assert not other.is_decided_by_files
    assert [step.source for step in other.steps("a")] == [Source.SYSTEM]
    assert other.hosts.find("a") == ("10.0.0.1",)


def test_glibc_version(monkeypatch: pytest.MonkeyPatch):
    """As confstr says; None on other systems, and of other libraries, which don't know the question."""
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr(machine.os, "confstr", lambda name: "glibc 2.36")
    assert glibc_version() == (2, 36)
    monkeypatch.setattr(machine.os, "confstr", lambda name: None)
    assert glibc_version() is None

    def unknown(name: str) -> str:
        raise ValueError(name)

    monkeypatch.setattr(machine.os, "confstr", unknown)
    assert glibc_version() is None
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert glibc_version() is None
