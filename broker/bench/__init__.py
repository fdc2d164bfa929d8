"""Load and life for a broker: simulated devices, and the meter that counts what comes through."""
