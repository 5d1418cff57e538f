"""
A network that tests can make worse: what Toxiproxy does, in-process.

    async with Network() as network:
        link = network.link("127.0.0.1:9000")
        with link.toxic(toxic.Latency(0.1, jitter=0.02)):
            await client.get(link.url)
"""

from __future__ import annotations

from random import Random
from urllib.parse import urlsplit

from ...config.check import count
from ..service import Service
from .link import Link

__all__ = ["Network"]


class Network(Service):
    """
    TCP proxies with toxics.

    ``async with Network() as network``, or ``with`` to run it in a thread; then call `link` as often as you like.

    Args:
        host: The address that its links listen on.
        rng: The random generator of toxicity, jitter and slices. Default: seeded, the same in each run.
    Attributes:
        links: By name.
    """

    def __init__(self, *, host: str = "127.0.0.1", rng: Random | None = None) -> None:
        self.host = host
        self.rng = rng or Random(0)
        self.links: dict[str, Link] = {}

    def link(self, upstream: str | tuple[str, int], *, port: int = 0, name: str = "") -> Link:
        """
        A new link to *upstream*: "host:port", "http://host:port" or (host, port). No server need listen there yet.

        Args:
            port: The port to listen on; 0 takes any free one.
            name: The link's key in `links`; its address by default.

        Raises:
            RuntimeError: The network is not running.
            ValueError, TypeError: *upstream* is not an address, or *name* is in use.
            OSError: The port is in use.
        """
        scheme, host, to_port = _parse(upstream)
        count("link", "port", port, low=0)
        if name in self.links:
            raise ValueError(f"name must be new, but a link {name!r} exists already")

        def make() -> Link:
            assert self._loop is not None
            link = Link(
                (host, to_port),
                scheme=scheme,
                host=self.host,
                port=port,
                name=name,
                rng=self.rng,
                run=self._run,
                loop=self._loop,
            )
            self.links[link.name] = link
            return link

        return self._run(make)

    async def _open(self) -> None:
        pass

    async def _close(self) -> None:
        for link in self.links.values():
            await link.aclose()
        self.links.clear()


def _parse(upstream: object) -> tuple[str, str, int]:
    """(scheme, host, port)"""
    parts = upstream
    if isinstance(upstream, str):
        url = urlsplit(upstream if "://" in upstream else f"http://{upstream}")
        try:
            parts = (url.hostname, url.port)
        except ValueError:  # the port
            parts = None
    scheme = "https" if isinstance(upstream, str) and upstream.startswith("https://") else "http"
    match parts:
        case (str(host), int(port)) if host and 1 <= port <= 65535:
            return scheme, host, port
    raise ValueError(f'upstream must be "host:port" or (host, port) with a port from 1 to 65535, not {upstream!r}')
