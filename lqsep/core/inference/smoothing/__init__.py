"""Whole sequences at once, for Markov priors: evidence, marginals and draws.

Reading order: ``smoothed`` (what is found), ``markov_steps`` (one frame, exactly),
``forward_backward`` (all frames, in bounded memory); then the likely pairs alone: ``pruned`` (all
frames), ``keeping`` (which pairs), ``kept_products`` (one frame).

Imports ``posterior``'s state and what ``inference`` may import.
"""
