"""The likelihood ``codebook-sum``: which pairs of codes add up to the mixture's code.

Reading order: ``table`` (the code of every pair's weighted sum), ``likelihood`` (a Gaussian around
that code's vector).

Reference: Mancusi et al. 2021, "Unsupervised Source Separation via Bayesian Inference in the Latent
Domain", arXiv:2110.05313 (the likelihood by precalculated sums of codes).
"""
