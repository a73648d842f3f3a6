"""Numbers made of waves: masks on the spectrum, metrics, disagreement, transform lengths.

Imports ``audio`` and ``errors`` only.
"""
