"""The framework without any component: the map.

Rooms, top floor first. Each imports only from those below it (`lint-imports` sees to it), and none
from plugins, the command line or the testing kit:

===============  =================================================================================
``evaluation``   scores of a pipeline on tracks with true stems, under named protocols
``plotting``     pictures
``separation``   one input from wave to stems: the picture, whole inputs, reports, output
``corpus``       data sets on their way into training
``training``     the loop that trainers share, resumable, in one process or several
``store``        what lies on disk besides sound: weights and model directories
``components``   from names in a TOML file to built components
``inference``    priors and likelihood together: the posterior over joint code sequences
``likelihoods``  the forms that the likelihood of one frame takes
``interfaces``   one abstract class per kind of component, and the values between them
``signal``       numbers made of waves
``audio``        sound in files and in memory
``files``        files and folders that appear whole or not at all
``jobs``         several pieces of work at a time
``errors``       everything that is raised on purpose
===============  =================================================================================

Reading order: ``separation.pipeline`` (the data flow as one short method), ``interfaces.data`` and
``interfaces.candidates`` (what travels along its arrows), ``separation.run`` (segment after
segment), the other ``interfaces``, ``inference.posterior`` (priors and likelihood, frame by frame),
``inference.frame_distribution`` and ``likelihoods`` (sums over joint codes), then
``components.spec``, ``registry``, ``config`` and ``assemble`` (how a TOML file becomes components),
``store.model_directory``, ``audio.files``, ``evaluation``.
"""
