"""Several pieces of work at a time: ``threads``, for what waits for files or for compiled code.

Imports ``errors`` only.
"""
