"""``python -m lqsep``: the same as the ``lqsep`` command."""

from lqsep.cli.main import main

if __name__ == "__main__":
    main()
