"""Transformer prior: autoregressive model of one source's codes with factored or dense attention.

Reading order: ``attention`` (which frames see which), ``kv_cache`` (what generation remembers),
``model`` (the network), ``stepper`` (the same one frame at a time), ``prior`` (both as a
`lqsep.core.interfaces.prior.Prior`).

References: Dhariwal et al. 2020, "Jukebox: A Generative Model for Music", arXiv:2005.00341 (the
architecture); Child et al. 2019, "Generating Long Sequences with Sparse Transformers",
arXiv:1904.10509 (the factored attention).
"""
