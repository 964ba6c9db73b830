"""Evaluation suites: every figure in the documentation comes from a command in here."""
