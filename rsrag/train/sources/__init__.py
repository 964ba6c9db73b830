"""Training data in the layouts it is published in: one module a format, each giving the same records."""
