"""Made the ``.npz`` files beside it, with the library ``sparse`` 0.19.3 and numpy.

Counts of 40 triples of 5 codes: ``coo.npz`` as LASS stores them, the others compressed over one
and over two axes; ``expected.npz`` the same as a dense array.
"""

from pathlib import Path

import numpy as np
import sparse

HERE = Path(__file__).parent

rng = np.random.default_rng(0)
triples = rng.integers(0, 5, (3, 40))
counts = sparse.COO(coords=triples, data=np.ones(40, np.int64), shape=(5, 5, 5))
sparse.save_npz(HERE / "coo.npz", counts)
sparse.save_npz(HERE / "gcxs_1.npz", sparse.GCXS.from_coo(counts, compressed_axes=(1,)))
sparse.save_npz(HERE / "gcxs_02.npz", sparse.GCXS.from_coo(counts, compressed_axes=(0, 2)))
np.savez_compressed(HERE / "expected.npz", counts=counts.todense())
