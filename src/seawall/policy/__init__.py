"""Decides whether and when an attempt is made. No I/O and no httpx; time and chance are arguments."""
