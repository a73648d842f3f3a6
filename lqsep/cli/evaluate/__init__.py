"""``lqsep evaluate``."""
