from tests.wire.conftest import by_hand, client, dns, listen, serve, stack

__all__ = ["by_hand", "client", "dns", "listen", "serve", "stack"]
