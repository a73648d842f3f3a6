"""``lqsep train``, and the likelihoods' ``lqsep sums`` and ``lqsep counts``."""
