"""Compose, render and augment drum and bass stems: the code behind ``lqsep data render``.

Reading order: ``genres`` (pattern tables), ``compose`` (tables to note events), ``midi`` (note
events to MIDI files and back), ``synth`` (MIDI to waves, with FluidSynth), ``augment`` (waves to
less clean waves), ``render`` (all of it, for a whole data set).
"""
