"""``lqsep separate``."""
