"""Vector indexes: one protocol, Qdrant Edge embedded or a Qdrant server behind it."""
