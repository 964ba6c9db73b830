"""One reader a kind of source; each yields scenes, places or documents."""
