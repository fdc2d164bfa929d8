"""Floor 0: bytes to WebSocket frames and back (RFC 6455), and the HTTP head that opens them. No I/O, no clock."""
