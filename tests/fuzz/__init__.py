"""Models and machines: what must hold whatever happens, tried with whatever Hypothesis thinks of."""
