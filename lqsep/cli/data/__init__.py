"""``lqsep data``."""
