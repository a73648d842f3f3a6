"""One input from wave to stems.

Reading order: ``pipeline`` (the data flow as one short method), ``run`` (segment after segment),
``segments`` (where they lie, how they are joined), ``separator`` (made from a model), ``output``
(what is written), ``report``, ``references``, ``clock``, ``device_memory``.

Imports ``corpus`` and what lies below it.
"""
