"""From names in a TOML file to built components.

Reading order: ``spec`` (what a plugin declares), ``registry`` (which plugins there are), ``config``
and ``overrides`` (the validated file), ``assemble`` (factories are called, components are built).

Imports ``inference`` and what lies below it; nothing heavy at module level.
"""
