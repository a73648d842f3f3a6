"""``lqsep config``, ``lqsep components`` and ``lqsep doctor``: what is installed and configured."""
