"""Constants that are fitted on data with known answers."""
