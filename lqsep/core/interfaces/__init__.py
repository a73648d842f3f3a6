"""One abstract class per kind of component, and the values that travel between them.

``data`` and ``candidates`` hold the arrows of the data flow; each kind has a file with its class
and, beside it, its facts in a frozen ``info`` value. No algorithm lives here. ``calls`` and
``returned`` are how components are called, and how what they give is looked at.

Imports ``signal``, ``audio`` and ``errors`` only.
"""
