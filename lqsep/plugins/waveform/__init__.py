"""The likelihood ``waveform``: candidate codes are decoded and compared with the mixture as sound.

Reading order: ``windows`` (which codes are decoded with a candidate, and the decoded ends),
``likelihood`` (a Gaussian around their weighted sum).

Reference: Mancusi et al. 2021, "Unsupervised Source Separation via Bayesian Inference in the Latent
Domain", arXiv:2110.05313 (the likelihood in the time domain).
"""
