"""Numbers made of waves: masks on the spectrum, metrics, disagreement, nearest codes, lengths.

Imports ``audio`` and ``errors`` only.
"""
