"""From a file's bytes to samples, whatever the format: which library reads it, and how long it is.

``recipes`` decides how a file is decoded (start here), ``content`` tells files apart by their first
bytes. ``streams`` is what every decoder is, ``sndfile``, ``pyav`` and ``program`` are the three
there are. ``chunks``, ``mpeg``, ``ogg`` and ``flac`` read headers for the true length of a file,
``views`` shows libsndfile a file with its header put right.

Imports ``lqsep.core.audio.checks`` and ``errors`` only.
"""
