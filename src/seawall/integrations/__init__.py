"""Frameworks and tools, one third-party import each."""
