"""Bytes: dialling, connections, the pool. Knows neither httpx nor the policies."""
