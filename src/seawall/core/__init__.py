"""One call: no I/O, and no HTTP library."""
