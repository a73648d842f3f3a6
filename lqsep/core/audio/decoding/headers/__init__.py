"""What the headers of a file say, and what is true: lengths, parts, what is missing.

``chunks`` (wav and its relatives), ``mpeg`` and ``mpeg_frames`` (mp3, mp2), ``ogg``, ``flac``.
Nothing is decoded here.

Imports ``lqsep.core.audio.decoding``'s ``streams`` (for its errors) and ``views`` only.
"""
