"""The forms that the likelihood of one frame's joint codes takes.

=============== ====================================================================
``sum_table``   the value depends on the code of the pair's sum only (large codebooks)
``bilinear``    a term per code plus a product of vectors (Gaussians, large codebooks)
``sparse``      a list of pairs, one floor for all the others
``dense``       every pair stored, evaluated in the log domain (small codebooks, tests)
=============== ====================================================================

``certificate`` says when sums in float32 may be believed, ``given`` asks for one source's codes.

Imports ``interfaces`` and what lies below it.
"""
