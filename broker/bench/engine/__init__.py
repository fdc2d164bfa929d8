"""The loop of a load generator: one thread, one poller; plain typed Python that mypyc compiles as it stands."""
