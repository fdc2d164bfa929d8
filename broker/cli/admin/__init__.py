"""`broker clients`, `subs`, `retained` and `top`: a running broker seen and steered over its API."""
