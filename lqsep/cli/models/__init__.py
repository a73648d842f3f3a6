"""``lqsep models``."""
