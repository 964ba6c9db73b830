"""The demo: Blue Marble, a gazetteer, three questions."""
