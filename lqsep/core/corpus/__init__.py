"""Data sets on their way into training: audio held in memory, copies varied, codes cached.

Imports ``training`` and what lies below it.
"""
