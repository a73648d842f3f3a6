"""How much each decoded candidate counts."""
