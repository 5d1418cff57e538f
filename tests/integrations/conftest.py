from tests.wire.conftest import client, dns, serve, stack

__all__ = ["client", "dns", "serve", "stack"]
