"""Training of the small models that ship with the package, and fine-tuning of larger ones."""
