"""From a file's bytes to samples, whatever the format: which library reads it, and how long it is.

``recipes`` decides how a file is decoded (start here), ``content`` tells files apart by their first
bytes. ``streams`` is what every decoder is; ``sndfile``, ``pyav`` and ``program`` are the three
there are. ``headers`` finds the true length of a file, ``views`` shows libsndfile a file with its
header put right.

Imports ``lqsep.core.audio``'s ``channel_order`` and ``checks``, and ``errors``.
"""
