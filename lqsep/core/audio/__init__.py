"""Sound in files and in memory: reading, writing, rates, channels.

``files`` (a whole file at once), ``reading`` and ``writing`` (block by block, whole or not at all),
``headers`` and ``checks`` (what would go wrong in silence), ``mixtures`` (where the samples of a
mixture come from), ``resampling``, ``mono`` (the one signal that is analysed).

Imports ``errors`` only.
"""
