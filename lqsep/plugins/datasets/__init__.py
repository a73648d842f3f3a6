"""Data sets of tracks with their stems: two folder layouts, Slakh2100, and made-up sounds."""
