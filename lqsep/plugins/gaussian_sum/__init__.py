"""The likelihood ``gaussian-sum``: a Gaussian around the unquantised sum of two codes.

Reading order: ``likelihood`` (the Gaussian), ``calibration`` (its mean and covariance, measured on
mixtures of recordings of the sources).
"""
