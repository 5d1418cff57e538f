"""A server of one function, and one of all faults."""
