"""Vector quantiser whose codebook follows exponential moving averages of the vectors it codes.

One training call runs in this order: start the codebook from the data (first call only), quantise
with the current codebook, look the codes up, move the codebook, and measure the commitment loss
against the entries as they were *before* the move. A code whose running count falls below
``revival_threshold`` is replaced by a random input vector. Where several processes train, sums,
counts and replacements are those of their joint batch, and so every process has the same codebook.

References: Dhariwal et al. 2020 (Jukebox), arXiv:2005.00341, section 3; van den Oord et al. 2017,
arXiv:1711.00937, appendix A.1 (moving averages). Different from the reference implementation: the
running sums and counts are saved with the weights, so a resumed run continues where it stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lqsep.core.errors import ConfigError, ShapeError
from lqsep.core.signal.nearest_codes import nearest_codes
from lqsep.core.training import processes

# Spread of the noise on repeated vectors, in units of 1/sqrt(embedding_dim).
_TILE_NOISE = 0.01

# Keeps the logarithm of an empty histogram bin finite.
_ENTROPY_FLOOR = 1e-8

Replacement = Callable[[Tensor], Tensor]
"""From input vectors ``rows embedding_dim`` to ``codebook_size embedding_dim`` new entries."""


@dataclass(frozen=True, kw_only=True)
class QuantizerMetrics:
    """What one call did; the fields after ``latent_norm`` are None when the codebook stood still.

    Attributes:
        latent_norm: Root mean square of the centred latents.
        entropy: Entropy of the code histogram of this call, nats.
        kept: Number of codes whose running count reaches the revival threshold.
    """

    latent_norm: Tensor
    entropy: Tensor | None = None
    kept: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class QuantizerResult:
    """Codes and vectors of one call.

    Attributes:
        codes: Nearest entries, ``batch frames``.
        quantized: Entries looked up, ``batch embedding_dim frames``; the gradient passes straight
            through to the latents.
        commitment: Mean squared distance of latents to their (fixed) entries; a scalar, or None
            when it was not asked for.
        metrics: Numbers to watch; None when they were not asked for.
    """

    codes: Tensor
    quantized: Tensor
    commitment: Tensor | None
    metrics: QuantizerMetrics | None


class Quantizer(nn.Module):
    """A codebook with nearest-entry coding.

    Args:
        codebook_size: Number of entries.
        embedding_dim: Size of an entry.
        decay: Weight of the past in the running sums and counts, in [0, 1).
        revival_threshold: Entries with a smaller running count are replaced, at every call until
            they are used enough.
        initial_count: Running count given to each entry at the start.
    """

    codebook: Tensor
    code_sum: Tensor
    code_count: Tensor
    initialised: Tensor

    def __init__(
        self,
        codebook_size: int,
        embedding_dim: int,
        *,
        decay: float = 0.99,
        revival_threshold: float = 1.0,
        initial_count: float = 1.0,
    ) -> None:
        super().__init__()
        if codebook_size < 1 or embedding_dim < 1:
            raise ConfigError(
                "quantizer: codebook_size and embedding_dim must be positive, got "
                f"{codebook_size} and {embedding_dim}."
            )
        if not 0.0 <= decay < 1.0:
            raise ConfigError(f"quantizer: decay must be in [0, 1), got {decay}.")
        if initial_count <= 0.0 or revival_threshold < 0.0:
            raise ConfigError(
                "quantizer: initial_count must be positive and revival_threshold not negative, "
                f"got {initial_count} and {revival_threshold}."
            )
        self.codebook_size = codebook_size
        self.embedding_dim = embedding_dim
        self.decay = decay
        self.revival_threshold = revival_threshold
        self.initial_count = initial_count
        self.register_buffer("codebook", torch.zeros(codebook_size, embedding_dim))
        self.register_buffer("code_sum", torch.zeros(codebook_size, embedding_dim))
        self.register_buffer("code_count", torch.zeros(codebook_size))
        self.register_buffer("initialised", torch.tensor(False))

    @torch.no_grad()
    def nearest(
        self, vectors: Float[Tensor, "rows embedding_dim"]
    ) -> tuple[Int[Tensor, " rows"], Float[Tensor, " rows"]]:
        """Index of and squared distance to the nearest entry, see `nearest_codes`."""
        return nearest_codes(vectors.float(), self.codebook.float(), as_reference=True)

    def encode(
        self, latents: Float[Tensor, "batch embedding_dim frames"]
    ) -> Int[Tensor, "batch frames"]:
        """Codes of the nearest entries."""
        codes, _ = self.nearest(self._flatten(latents))
        return codes.view(latents.shape[0], latents.shape[2])

    def lookup(
        self, codes: Int[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch embedding_dim frames"]:
        """The entries of codes."""
        return self.codebook[codes].movedim(-1, 1)

    def forward(
        self,
        latents: Float[Tensor, "batch embedding_dim frames"],
        *,
        replacement: Replacement | None = None,
        generator: torch.Generator | None = None,
        with_commitment: bool = True,
        with_metrics: bool = True,
    ) -> QuantizerResult:
        """Quantise, and in training move the codebook.

        Args:
            latents: Vectors to code.
            replacement: Draws the entries for codes to revive, and for the first call's start;
                by default :func:`random_rows`.
            generator: Randomness of the default ``replacement``.
            with_commitment: Whether to compute the commitment loss.
            with_metrics: Whether to compute the metrics.
        """
        flat = self._flatten(latents)
        vectors = flat.detach().float()
        if replacement is None:
            replacement = self._default_replacement(len(latents), generator)
        if self.training and not self.initialised:
            self.start(replacement(vectors))
        codes, _ = self.nearest(vectors)
        entries = self.codebook[codes]  # a copy: the update below does not reach it
        counts = self._update(vectors, codes, replacement) if self.training else None
        metrics = self._metrics(vectors, counts) if with_metrics else None
        commitment = (entries - flat).square().mean() if with_commitment else None
        quantized = flat + (entries - flat).detach()
        batch, _, frames = latents.shape
        return QuantizerResult(
            codes=codes.view(batch, frames),
            quantized=quantized.view(batch, frames, -1).movedim(-1, 1),
            commitment=commitment,
            metrics=metrics,
        )

    @torch.no_grad()
    def start(self, codebook: Float[Tensor, "codebook_size embedding_dim"]) -> None:
        """Take ``codebook`` as the entries, with fresh running sums and counts."""
        self.codebook.copy_(codebook)
        self.restart_counts(self.initial_count)
        self.initialised.fill_(True)

    @torch.no_grad()
    def restart_counts(self, count: float) -> None:
        """Give every entry the running count ``count``, e.g. after loading entries alone."""
        self.code_count.fill_(count)
        self.code_sum.copy_(self.codebook * count)

    def _flatten(self, latents: Tensor) -> Tensor:
        """``batch embedding_dim frames`` to ``rows embedding_dim``."""
        if latents.ndim != 3 or latents.shape[1] != self.embedding_dim:
            raise ShapeError(
                f"quantizer: expected latents (batch, {self.embedding_dim}, frames), "
                f"got {tuple(latents.shape)}."
            )
        return latents.movedim(1, -1).reshape(-1, self.embedding_dim)

    def _default_replacement(self, items: int, generator: torch.Generator | None) -> Replacement:
        def draw(vectors: Tensor) -> Tensor:
            return joint_random_rows(vectors, self.codebook_size, items, generator=generator)

        return draw

    @torch.no_grad()
    def _update(self, vectors: Tensor, codes: Tensor, replacement: Replacement) -> Tensor:
        """Move the codebook; gives how often this call had each code."""
        counts = torch.bincount(codes, minlength=self.codebook_size).to(self.code_count.dtype)
        sums = torch.zeros_like(self.code_sum).index_add_(0, codes, vectors)
        processes.sum_(counts)
        processes.sum_(sums)
        fresh = replacement(vectors)
        self.code_sum.mul_(self.decay).add_(sums, alpha=1.0 - self.decay)
        self.code_count.mul_(self.decay).add_(counts, alpha=1.0 - self.decay)
        kept = self.code_count >= self.revival_threshold
        # With a threshold of 0 an entry never used keeps a count that decays towards 0.
        tiny = torch.finfo(self.code_count.dtype).tiny
        averages = self.code_sum / self.code_count.clamp(min=tiny).unsqueeze(1)
        self.codebook.copy_(torch.where(kept.unsqueeze(1), averages, fresh))
        return counts

    def _metrics(self, vectors: Tensor, counts: Tensor | None) -> QuantizerMetrics:
        latent_norm = (vectors - vectors.mean()).square().mean().sqrt()
        if counts is None:
            return QuantizerMetrics(latent_norm=latent_norm)
        histogram = counts / counts.sum()
        return QuantizerMetrics(
            latent_norm=latent_norm,
            entropy=-(histogram * (histogram + _ENTROPY_FLOOR).log()).sum(),
            kept=(self.code_count >= self.revival_threshold).sum(),
        )


def random_rows(
    vectors: Float[Tensor, "rows embedding_dim"],
    count: int,
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "count embedding_dim"]:
    """``count`` different rows in random order; too few rows are repeated with a little noise.

    Args:
        vectors: At least one row.
        count: Number of rows to draw.
        generator: Source of randomness, on the device of ``vectors``.
    """
    rows, dim = vectors.shape
    if rows < count:
        vectors = vectors.repeat(-(-count // rows), 1)
        noise = torch.empty_like(vectors).normal_(generator=generator)
        vectors = vectors + noise * (_TILE_NOISE / dim**0.5)
    order = torch.randperm(len(vectors), generator=generator, device=vectors.device)
    return vectors[order[:count]]


def joint_random_rows(
    vectors: Float[Tensor, "rows embedding_dim"],
    count: int,
    items: int,
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "count embedding_dim"]:
    """`random_rows` of the vectors of all processes, the same in each; collective.

    The first process draws as a single one would that had the joint batch: only the rows it chose
    travel, and all rows where there are fewer than ``count``.

    Args:
        vectors: This process's rows, equally many in all of them.
        count: Number of rows to draw.
        items: Batch items that the rows belong to, each with the same number of rows; the items
            of the joint batch are dealt out by `lqsep.core.training.processes.share`.
        generator: Of the first process, on the device of ``vectors``.
    """
    n_processes, rank = processes.count(), processes.rank()
    if n_processes == 1:
        return random_rows(vectors, count, generator=generator)
    rows, dim = vectors.shape
    if rows * n_processes < count:
        joint = processes.interleave(vectors.view(items, -1, dim)).view(-1, dim)
        return processes.broadcast_(random_rows(joint, count, generator=generator).contiguous())
    order = torch.randperm(rows * n_processes, generator=generator, device=vectors.device)
    chosen = processes.broadcast_(order[:count].contiguous())
    frames = rows // items
    item, frame = chosen // frames, chosen % frames
    mine = item % n_processes == rank
    drawn = torch.zeros(count, dim, dtype=vectors.dtype, device=vectors.device)
    drawn[mine] = vectors[(item[mine] // n_processes) * frames + frame[mine]]
    return processes.sum_(drawn)
