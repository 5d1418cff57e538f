"""The servers of a benchmark: ours for small answers in the clear; nginx for large ones, TLS and HTTP/2."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from seawall.testing import FaultProcess

from .machine import SERVER_CORE, is_installed, pin, server
from .work import WIRES, Work

ADDRESS = "127.0.0.1"
FAR = "http://far.test/"  # for a proxy, which is our server, and answers whatever it is asked for
PROXIED = ("proxy", "tunnel")
NGINX = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    default_type application/json;
    sendfile on;
    open_file_cache max=16;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/certificate.pem;
    server {{ listen {address}:{http}; {locations} }}
    server {{ listen {address}:{tls} ssl; {locations} }}
    server {{ listen {address}:{h2} ssl http2; if ($server_protocol != HTTP/2.0) {{ return 505; }} {locations} }}
}}
"""
LOCATION = "location /{size}/ {{ root {folder}; try_files /{size}.json =404; }}"  # at every URL below it


@dataclass(frozen=True)
class Sites:
    """
    Attributes:
        plain: The URL of our server.
        others: nginx's, for each of `WIRES`.
        authority: The file of the authority that has signed nginx's certificate; "" without nginx.
        relay: A proxy that gives tunnels; "" where none is wanted.
    """

    plain: str
    others: dict[str, str]
    authority: str = ""
    relay: str = ""

    def text(self, work: Work) -> str:
        """The work with its proxy, as a command's argument."""
        return replace(work, proxy={"proxy": self.plain, "tunnel": self.relay}.get(work.wire, "")).text

    def url(self, work: Work) -> str:
        """Where its requests go; ends in a slash."""
        if work.is_plain:
            return self.plain if work.wire == "http" else FAR
        return f"{self.others['tls' if work.wire == 'tunnel' else work.wire]}{work.size}/"


def lacks(work: Work) -> str:
    """What is missing to serve it; "" if nothing is."""
    if work.is_plain:
        return ""
    if not is_installed("trustme"):
        return "needs trustme, which the extra bench installs"
    from .reality.place import program

    return "" if program("nginx") else "needs nginx, which is not installed"


@contextmanager
def sites(works: Sequence[Work]) -> Iterator[Sites]:
    """Run the servers that these need, in processes of their own."""
    sizes = {work.size for work in works if not work.is_plain}
    with ExitStack() as stack:
        plain = f"http://{ADDRESS}:{stack.enter_context(server())}/"
        if not sizes:
            yield Sites(plain, {})
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        others = stack.enter_context(_nginx(folder, sizes))
        relay = ""
        if any(work.wire == "tunnel" for work in works):
            relay = stack.enter_context(FaultProcess()).listen("proxy").replace("https:", "http:")
        yield Sites(plain, others, str(folder / "authority.pem"), relay)


@contextmanager
def _nginx(folder: Path, sizes: Iterable[int]) -> Iterator[dict[str, str]]:
    """Its URL for each of `WIRES`; it serves a file of each size, and keeps everything that it writes in *folder*."""
    import trustme

    from .reality.place import Place, Program, listens, program

    authority, place = trustme.CA(), Place(folder, ADDRESS, folder / "certificate.pem", folder / "authority.pem")
    authority.cert_pem.write_to_path(str(place.authority))
    authority.issue_cert(ADDRESS).private_key_and_cert_chain_pem.write_to_path(str(place.certificate))
    for size in sizes:
        with (folder / f"{size}.json").open("wb") as file:
            file.truncate(size)
    ports = {wire: place.port() for wire in WIRES if wire not in PROXIED}
    user = "user root;" if os.geteuid() == 0 else ""  # or its worker can't read the folder
    locations = " ".join(LOCATION.format(size=size, folder=folder) for size in sizes)
    configuration, log = folder / "nginx.conf", folder / "nginx.txt"
    configuration.write_text(NGINX.format(folder=folder, user=user, address=ADDRESS, locations=locations, **ports))
    command = (program("nginx") or "nginx", "-e", "stderr", "-p", str(folder), "-c", str(configuration))
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=lambda: pin(SERVER_CORE))
    try:
        Program(process, log).wait_until(lambda: all(listens((), ADDRESS, port) for port in ports.values()))
        yield {wire: f"http{'' if wire == 'http' else 's'}://{ADDRESS}:{port}/" for wire, port in ports.items()}
    finally:
        process.terminate()  # which ends its worker too
        process.wait()
