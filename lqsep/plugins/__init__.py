"""Built-in components, one folder per plugin, found through the ``lqsep`` entry-point group."""
