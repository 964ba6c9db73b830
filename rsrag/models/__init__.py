"""The registry of models and the code that loads and runs them."""
