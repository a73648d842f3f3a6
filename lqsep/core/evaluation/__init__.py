"""Scores of a pipeline on tracks with true stems, under named protocols.

Reading order: ``protocols`` (what each protocol is), ``items`` (the chunks or tracks that are
scored, planned before anything runs), ``sound`` (an item's mixture and true stems), ``evaluate``
(one item: separate, compare), with ``raw_candidates`` and ``baselines_of`` for what it compares,
``scores`` and ``museval`` for the figures, then ``summary`` (all items together), ``tables`` and
``page`` (how they are shown).
"""
