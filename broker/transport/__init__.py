"""Floor 2: sockets and streams. Trio begins here."""
