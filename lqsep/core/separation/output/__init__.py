"""What is written of a separated track: files that get their names together, or not at all.

``settings`` (where and as what), ``parts`` (the stems and what else is made of a track while it is
separated), ``candidates``, ``reference_scores``, ``identity`` (whose results lie in a folder),
``track`` (all of it, as one function).
"""
