"""The map from normative statements to tests, and the tests that follow the standards statement by statement."""
