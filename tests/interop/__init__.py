"""Other people's clients against `broker serve`, and our own command line against another broker."""
