from tests.wire.conftest import client, dns, listen, serve, stack

__all__ = ["client", "dns", "listen", "serve", "stack"]
