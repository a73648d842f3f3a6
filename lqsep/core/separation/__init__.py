"""One input from wave to stems.

Reading order: ``separator`` (the data flow as one short method), ``run`` (segment after segment),
``segments``, ``stretch``, ``report``, ``clock``.

Imports ``corpus`` and what lies below it.
"""
