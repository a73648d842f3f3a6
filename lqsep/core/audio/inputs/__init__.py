"""What a user hands over: files of folders, pipes, arrays.

``recognition`` (which files of a folder are audio), ``spooling`` (what comes through a pipe, kept
in a file), ``arrays`` (samples in memory, of which type and scale).

Imports ``lqsep.core.audio``'s ``checks``, ``decoding`` and ``reading``, and ``errors``.
"""
