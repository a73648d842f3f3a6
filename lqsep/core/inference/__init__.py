"""Priors and likelihood together: the posterior over joint code sequences.

Reading order: ``posterior`` (hypotheses frame by frame), ``state``, ``frame_distribution`` (one
frame: draw, sum, search), ``joint_search``, ``filters``, ``prior_windows``; then ``smoothing``,
what is known of whole sequences where priors are Markov chains; ``bounds`` of the evidence,
``step_scores`` (one step to look at), ``batches`` (work that fits into the device's memory).

Imports ``likelihoods`` and what lies below it.
"""
