"""Many URLs: fan-out, resumed downloads, server-sent events, through a client given; it knows no HTTP library."""
