"""rsrag: ask your satellite archive."""
