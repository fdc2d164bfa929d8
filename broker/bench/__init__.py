"""Load for a broker, made from the same packets."""
