"""Codes of log spectra: no phase in them, one codebook per source.

Reading order: ``features`` (log powers per band), ``book`` (what a source's codes stand for),
``codec`` (encodes, and decodes with the mixture's phase), ``store`` (their file), ``kmeans`` and
``train`` (where codes come from).
"""
