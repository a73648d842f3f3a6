"""Checkpoints of LQVAE-separation, whose codec and priors are Jukebox's, in and out.

Reading order: ``codec_names`` and ``prior_names`` (what each tensor is called there and here),
``codec_layout`` and ``prior_layout`` (which tensors there are, of which shapes),
``codec_checkpoint`` and ``prior_checkpoint`` (settings and tensors of a file, checked against each
other), ``sum_table`` and ``table_import`` (tables of code sums), ``origin`` (what weights keep of
their checkpoint), ``importing`` and ``exporting`` (a whole model), ``commands``.

The codec, the priors and the likelihood are other plugins'. They are met through the files of a
model directory, and through the registry: their settings, and what builds and trains them.

References: Mancusi et al. 2021, "Unsupervised Source Separation via Bayesian Inference in the
Latent Domain", arXiv:2110.05313; Dhariwal et al. 2020, "Jukebox: A Generative Model for Music",
arXiv:2005.00341.
"""
