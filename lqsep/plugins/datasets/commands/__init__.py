"""``lqsep data slakh`` and ``lqsep data check``."""
