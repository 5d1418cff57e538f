"""Names to addresses. Knows neither httpx nor the wire."""
