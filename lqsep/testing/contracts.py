"""What every component of a kind must fulfil: subclass, give ``make``, and let pytest run it.

::

    from lqsep.testing.contracts import PriorContract

    class TestMyPrior(PriorContract):
        def make(self):
            return MyPrior(codebook_size=5)

``make`` is called for every check; it must give the same component each time. Further attributes
of a class say how large the checked examples are. Tolerances are those of float32 arithmetic
summed in another order.
"""

from __future__ import annotations

from lqsep.testing.codec_contract import CodecContract
from lqsep.testing.dataset_contract import DatasetContract
from lqsep.testing.likelihood_contract import LikelihoodContract
from lqsep.testing.prior_contract import PriorContract
from lqsep.testing.sampler_contract import SamplerContract
from lqsep.testing.stem_contracts import RefinerContract, SelectorContract

__all__ = [
    "CodecContract",
    "DatasetContract",
    "LikelihoodContract",
    "PriorContract",
    "RefinerContract",
    "SamplerContract",
    "SelectorContract",
]
