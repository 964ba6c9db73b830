"""Other frameworks on top of the engine."""
