"""A server that is one function, and a server of all faults."""
