"""The proof of what `broker` claims; folders mirror those of the source."""
