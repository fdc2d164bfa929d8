"""Floor 0: bytes to Control Packets and back. Standard library only; no I/O, no clock, no log."""
