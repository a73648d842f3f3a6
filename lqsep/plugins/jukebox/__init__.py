"""Checkpoints of LQVAE-separation, whose codec and priors are Jukebox's, in and out.

Reading order: ``codec_names`` and ``prior_names`` (what each tensor is called there and here),
``codec_checkpoint`` and ``prior_checkpoint`` (settings and tensors of a file, checked against each
other), ``sum_table`` (tables of code sums), ``importing`` and ``exporting`` (a whole model),
``commands``.

References: Mancusi et al. 2021, "Unsupervised Source Separation via Bayesian Inference in the
Latent Domain", arXiv:2110.05313; Dhariwal et al. 2020, "Jukebox: A Generative Model for Music",
arXiv:2005.00341.
"""
