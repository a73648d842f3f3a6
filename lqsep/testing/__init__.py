"""Kit for plugin authors, and for lqsep's own tests. Imported on request only.

- `lqsep.testing.toys`: tiny real components, and exact posteriors by enumeration.
- `lqsep.testing.dense`: the posterior of one frame with every pair listed, in float64.
- `lqsep.testing.models`: a tiny model directory of built-in components, made in a few seconds.
- `lqsep.testing.contracts`: what every component of a kind must fulfil, as test classes::

    from lqsep.testing.contracts import PriorContract

    class TestMyPrior(PriorContract):
        def make(self):
            return MyPrior(codebook_size=5)
"""
