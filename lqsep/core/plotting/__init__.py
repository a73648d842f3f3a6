"""Pictures: spectrograms, disagreement over time, joint matrices.

Imports ``separation`` and what lies below it.
"""
