"""Sound in files and in memory: reading, writing, rates, channels.

``files`` (a whole file at once), ``reading`` and ``writing`` (block by block, whole or not at all),
``decoding`` (which library reads a file, and its true length), ``writable`` (what formats can
hold), ``channel_order`` and ``checks`` (what would go wrong in silence), ``mixtures`` (where the
samples of a mixture come from), ``inputs`` (what a user hands over), ``resampling`` and
``resampled`` (all at once, or in stretches), ``mono`` (the one signal that is analysed).

Imports ``errors`` only.
"""
