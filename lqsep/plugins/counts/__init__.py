"""The likelihood ``counts``: how often a pair of codes was seen to give a code of the mixture.

Reading order: ``counting`` (mixes recordings of the sources and counts), ``store`` (the file beside
the model), ``lass`` (files of the published system), ``likelihood``.

Reference: Postolache et al. 2023, "Latent Autoregressive Source Separation", arXiv:2301.08562
(the likelihood by frequencies of sums of codes).
"""
