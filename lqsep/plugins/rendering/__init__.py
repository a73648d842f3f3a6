"""Compose, render and augment drum and bass stems: the code behind ``lqsep data render``.

Reading order: ``genres`` (pattern tables), ``compose`` (tables to note events), ``midi`` (note
events to MIDI files and back), ``synth`` (MIDI to waves, with FluidSynth), ``modelled`` and its
neighbours (note events to waves, without), ``augment`` (waves to less clean waves), ``instruments``
(what SoundFonts offer, what is held out), ``stems`` (one stem), ``render`` (a whole data set).
"""
