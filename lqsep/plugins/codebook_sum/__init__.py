"""The likelihoods ``codebook-sum`` and ``delta``: which codes add up to the mixture's code.

Reading order: ``table`` (the code of every pair's weighted sum), ``likelihood`` (a Gaussian around
that code's vector), ``delta`` (that very code or not).

Reference: Mancusi et al. 2021, "Unsupervised Source Separation via Bayesian Inference in the Latent
Domain", arXiv:2110.05313 (the likelihood by precalculated sums of codes).
"""
