"""Ingest: from files to tiles and passages in the catalogue and the index."""
