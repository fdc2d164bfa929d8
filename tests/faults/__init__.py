"""What the broker withstands: hostile, careless and vanished peers, and a machine that runs short."""
