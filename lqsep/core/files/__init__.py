"""Files and folders that appear whole or not at all.

Imports nothing of lqsep but errors.
"""
