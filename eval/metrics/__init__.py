"""Figures from answers and truths alone."""
