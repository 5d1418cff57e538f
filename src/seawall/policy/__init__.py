"""When and whether. No I/O and no httpx; time and chance are arguments."""
