"""Many URLs: fan-out, resumed downloads, server-sent events, through a client that is given; it knows no HTTP library."""
