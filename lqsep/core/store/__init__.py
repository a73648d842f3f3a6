"""What lies on disk besides sound: weights, model directories, files written whole or not at all.

Imports ``components`` and what lies below it.
"""
