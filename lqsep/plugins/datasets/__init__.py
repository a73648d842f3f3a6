"""Data sets of tracks with their stems: two folder layouts, and made-up sounds for tests."""
