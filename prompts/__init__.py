"""Versioned prompt templates and the builder that fills them within a token budget."""
