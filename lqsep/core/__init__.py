"""The framework without any component.

Reading order: ``pipeline`` (the data flow as one short method), ``data`` (what travels along the
arrows), ``separation_run`` (segment after segment), ``interfaces`` (one abstract class per kind of
component), ``posterior`` (priors and likelihood together, frame by frame), ``frame_likelihood``
(sums over joint codes), ``windows`` (long inputs), then ``spec``, ``registry``, ``config`` and
``assemble`` (how a TOML file becomes components), ``model_directory`` and ``checkpoints``
(weights), ``audio`` (files), ``evaluation`` (scores under named protocols).
"""
