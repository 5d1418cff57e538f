"""HTTP/2; it needs the extra "http2"."""
