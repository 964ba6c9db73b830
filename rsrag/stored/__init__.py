"""What the catalogue stores of places and scenes, told in answer to questions of relations, counts and lists."""
