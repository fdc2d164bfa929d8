"""Floor 1: what a broker knows and decides. Synchronous; no Trio, no I/O, no clock (time is an argument), no log."""
