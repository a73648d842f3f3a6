"""Kit for plugin authors, and for lqsep's own tests. Imported on request only.

- `lqsep.testing.toys`: tiny real components, and exact posteriors by enumeration.
- `lqsep.testing.contexts`: what factories and trainers are given.
- `lqsep.testing.posteriors`: more posteriors to try a sampler on.
- `lqsep.testing.dense`: the posterior of one frame with every pair listed, in float64.
- `lqsep.testing.smoothing`: the posterior of whole sequences as a textbook computes it.
- `lqsep.testing.models`: a tiny model directory of built-in components, made in a few seconds.
- `lqsep.testing.contracts`: what every component of a kind must fulfil, as test classes::

    from lqsep.testing.contracts import PriorContract

    class TestMyPrior(PriorContract):
        def make(self):
            return MyPrior(codebook_size=5)
"""

import contextlib

with contextlib.suppress(ImportError):
    import pytest

    # So that a failed check of a contract shows its values, as in a test module.
    pytest.register_assert_rewrite(
        "lqsep.testing.codec_contract",
        "lqsep.testing.comparing",
        "lqsep.testing.dataset_contract",
        "lqsep.testing.likelihood_contract",
        "lqsep.testing.prior_contract",
        "lqsep.testing.sampler_contract",
        "lqsep.testing.stem_contracts",
    )
