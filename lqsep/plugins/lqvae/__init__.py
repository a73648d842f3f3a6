"""LQ-VAE: a vector-quantised codec whose latent space adds up like audio does.

Reading order: ``quantizer`` (one codebook learned by moving averages), ``model`` (encoders and
decoders per level), ``losses`` (reconstruction, spectral and linearisation terms).

References: Dhariwal et al. 2020, "Jukebox: A Generative Model for Music", arXiv:2005.00341 (the
hierarchical VQ-VAE); Mancusi et al. 2021, "Unsupervised Source Separation via Bayesian Inference in
the Latent Domain", arXiv:2110.05313 (the linearisation loss).
"""
