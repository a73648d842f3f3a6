"""The ``lqsep`` command. ``main.py`` holds the entry point; each command has a file of its own."""
