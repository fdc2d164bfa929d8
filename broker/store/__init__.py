"""The durable store: what the Journal recorded, in one SQLite file, by one thread. Start at `store.SqliteStore`."""
