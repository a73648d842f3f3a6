"""Codes of log spectra: no phase in them, one codebook per source.

Reading order: ``features`` (log powers per band), ``book`` (what a source's codes stand for),
``codec`` (encodes, and decodes with the mixture's phase), ``store`` (their file), ``kmeans`` and
``train`` (where codes come from).

The likelihood ``log-sum``: ``pair_model`` (the Gaussian of a pair of codes, and all pairs as one
matrix product), ``log_sum``, ``adaptation`` (equalisers fitted to a mixture).
"""
