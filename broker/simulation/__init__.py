"""Life for a broker: simulated devices, the fleet that brings them to the network, and the meter that counts."""
