"""Programs that use seawall, to start from. The tests run them."""
