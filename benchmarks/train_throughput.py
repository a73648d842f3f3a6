"""Train a codec and a prior: steps per second and memory, beside a loop written by hand.

::

    OMP_NUM_THREADS=1 python benchmarks/train_throughput.py --size tiny --json train.json
    python benchmarks/train_throughput.py --size reference --json train.json     # on a GPU

The sizes are the presets of ``lqsep train``. Way ``fit`` is the loop that all trainers share, with
its checks, reports and logs; ``plain`` does what PyTorch's tutorials do and nothing else: loss,
zero_grad, backward, clip, step, and the average of the weights where the preset has one. Both have
the same model, loss, optimiser, batches and random numbers, so they have the same losses, which is
checked. Validations and checkpoints are left out. Data are noise and random codes.

A round is ``--steps`` steps after two untimed ones; the ways take turns. Memory is taken once per
way in a process of its own: the growth of the process's peak, or the peak of what is allocated on
the GPU. Where other work keeps the cores busy, trust ``cpu_median`` more than ``median``.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import multiprocessing
import resource
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from _timing import arguments, machine, ratios, summary, wait, write
from torch import Tensor, nn

from lqsep.cli.train.presets import PRESETS, load_recipe
from lqsep.core.components.config import PipelineConfig, parse_settings
from lqsep.core.components.registry import Registry
from lqsep.core.corpus.audio_pool import AudioPool, stem_level
from lqsep.core.interfaces.dataset import Dataset, Track
from lqsep.core.store.devices import resolve_device
from lqsep.core.training.events import say_nothing
from lqsep.core.training.loop import Task, fit
from lqsep.core.training.optimizers import JukeboxAdam
from lqsep.core.training.seeds import spawn_generator, spawn_seed
from lqsep.core.training.settings import LoopSettings
from lqsep.plugins.lqvae import factory as lqvae
from lqsep.plugins.lqvae.config import LQVAEConfig
from lqsep.plugins.lqvae.train import CodecTask
from lqsep.plugins.lqvae.train_config import LQVAETrainConfig
from lqsep.plugins.transformer import factory as transformer
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.train import PriorTask
from lqsep.plugins.transformer.train_codes import StoredWindows
from lqsep.plugins.transformer.train_config import TransformerTrainConfig

# Steps of a round that are not timed: what is done once, and the optimiser's first step.
_WARM_UP = 2

_TRACKS = 4

# Of the runs; what is drawn depends on it.
NAME = "benchmark"


class Noise(Dataset):
    """Tracks of white noise, all different."""

    def __init__(self, sources: tuple[str, ...], n_samples: int, sample_rate: int) -> None:
        self.sources, self._n_samples, self._rate = sources, n_samples, sample_rate

    def __len__(self) -> int:
        return _TRACKS

    def __getitem__(self, index: int) -> Track:
        rng = torch.Generator().manual_seed(index)
        stems = {s: torch.randn(1, self._n_samples, generator=rng).numpy() for s in self.sources}
        return Track(f"noise {index}", self._rate, None, stems)


def codec_task(
    config: PipelineConfig, device: torch.device, seed: int
) -> tuple[Task, LoopSettings]:
    """As the trainer of ``lq-vae`` makes it, but for the data."""
    codec, sources = config.codec, tuple(config.sources)
    assert isinstance(codec, LQVAEConfig)
    settings = parse_settings(LQVAETrainConfig, config.train.codec, "train.codec")
    rate = codec.sample_rate
    noise = Noise(sources, 2 * settings.clip_samples, rate)
    pool = AudioPool(noise, sources, rate, level=stem_level(codec.level, config.gains))
    torch.manual_seed(seed)
    model = lqvae.build_model(
        codec,
        decay=settings.decay,
        revival_threshold=settings.revival_threshold,
        initial_count=settings.initial_count,
    ).to(device)
    task = CodecTask(
        model,
        pool,
        None,
        settings,
        gains=config.gains,
        sample_rate=rate,
        seed=seed,
        device=device,
    )
    return task, settings


def prior_task(
    config: PipelineConfig, device: torch.device, seed: int
) -> tuple[Task, LoopSettings]:
    """As the trainer of ``transformer`` makes it, but for the data."""
    codec, prior = config.codec, next(iter(config.sources.values())).prior
    assert isinstance(codec, LQVAEConfig) and isinstance(prior, TransformerConfig)
    settings = parse_settings(TransformerTrainConfig, config.train.prior, "train.prior")
    torch.manual_seed(seed)
    codes = torch.randint(codec.codebook_size, (_TRACKS, 2 * prior.max_frames))
    model = transformer.build_model(prior, torch.randn(codec.codebook_size, codec.embedding_dim))
    model.recompute = settings.recompute
    windows = StoredWindows(list(codes), prior.max_frames)
    task = PriorTask(model.to(device), windows, None, settings, seed=seed, device=device)
    return task, settings


PARTS = {"codec": codec_task, "prior": prior_task}


class Enough(Exception):
    """The last timed step is done."""


class Watched(Task):
    """A task that takes the time between steps, and ends its run with `Enough`.

    Args:
        task: The work.
        device: Waited for before a clock is read.
        steps: Timed.
    """

    def __init__(self, task: Task, device: torch.device, steps: int) -> None:
        self.task, self.model, self.per_step = task, task.model, task.per_step
        self.losses: list[Tensor] = []
        self._device, self._first, self._last = str(device), _WARM_UP, _WARM_UP + steps
        self._clocks: list[tuple[float, float]] = []

    def loss(self, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        if len(self.losses) in (self._first, self._last):
            wait(self._device)
            self._clocks.append((time.perf_counter(), time.process_time()))
        if len(self.losses) == self._last:
            raise Enough
        loss, figures = self.task.loss(generator)
        self.losses.append(loss.detach())
        return loss, figures

    def seconds_per_step(self) -> tuple[float, float]:
        """Of wall-clock and of processor time."""
        (wall, cpu), (wall_end, cpu_end) = self._clocks
        steps = self._last - self._first
        return (wall_end - wall) / steps, (cpu_end - cpu) / steps


def shared_loop(task: Task, settings: LoopSettings, device: torch.device, seed: int) -> None:
    """As trainers call it."""
    with TemporaryDirectory() as folder:
        fit(
            task,
            settings,
            name=NAME,
            output_dir=Path(folder),
            device=device,
            seed=seed,
            resume=False,
            report=say_nothing,
        )


def plain_loop(task: Task, settings: LoopSettings, device: torch.device, seed: int) -> None:
    """The same steps and nothing else."""
    optimizers = {"adamw": torch.optim.AdamW, "jukebox-adam": JukeboxAdam}
    torch.manual_seed(spawn_seed(seed, NAME, "process", 0))
    generator = spawn_generator(seed, NAME, "batches")
    parameters = [p for p in task.model.parameters() if p.requires_grad]
    optimizer = optimizers[settings.optimizer](
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    decay = settings.ema_decay
    averages = [] if decay is None else [p.detach().clone() for p in parameters]
    task.model.train()
    while True:
        loss, _ = task.loss(generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        optimizer.step()
        if decay is not None:
            with torch.no_grad():
                for average, parameter in zip(averages, parameters, strict=True):
                    average.lerp_(parameter, 1 - decay)


WAYS: Mapping[str, Callable[[Task, LoopSettings, torch.device, int], None]] = {
    "fit": shared_loop,
    "plain": plain_loop,
}


class Problem:
    """One part of a preset's model, to be trained by either way."""

    def __init__(self, part: str, size: str, device: torch.device, seed: int) -> None:
        self.device, self.seed = device, seed
        config = load_recipe(None, size, Registry.discover(), ())
        self.task, settings = PARTS[part](config, device, seed)
        # Neither the clock nor the step moves the learning rate, which is too small for noise to
        # make a loss explode; no step validates or writes a checkpoint.
        never = 10**9
        self.settings = settings.model_copy(
            update={
                "steps": never,
                "max_minutes": None,
                "warmup_steps": 0,
                "schedule": "constant",
                "learning_rate": 1e-5,
                "validate_every": never,
                "checkpoint_every": never,
                "patience": None,
            }
        )

    def run(self, way: str, steps: int) -> Watched:
        """Some steps from the model as it is."""
        watched = Watched(self.task, self.device, steps)
        # A report falls among the timed steps.
        often = max(min(steps, self.settings.log_every), _WARM_UP + 1)
        settings = self.settings.model_copy(update={"log_every": often})
        gc.collect()
        with contextlib.suppress(Enough):
            WAYS[way](watched, settings, self.device, self.seed)
        return watched


def peak(part: str, size: str, device: torch.device, seed: int, way: str) -> int:
    """Bytes: growth of this process's peak in a few steps, or the peak on the GPU."""
    with contextlib.suppress(ImportError):  # is code, not data
        import torch.utils.tensorboard  # noqa: F401
    problem = Problem(part, size, device, seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem.run(way, 2)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def measure(
    part: str, size: str, device: torch.device, seed: int, steps: int, rounds: int
) -> dict[str, Any]:
    """Both ways in turn, each with a model of its own."""
    problems = {way: Problem(part, size, device, seed) for way in WAYS}
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    losses: dict[str, list[Tensor]] = {way: [] for way in WAYS}
    names = list(WAYS)
    for number in range(rounds):
        for way in names[number % 2 :] + names[: number % 2]:
            watched = problems[way].run(way, steps)
            taken[way].append(watched.seconds_per_step())
            losses[way].append(torch.stack(watched.losses).cpu())
    timings = {way: summary(*zip(*pairs, strict=True)) for way, pairs in taken.items()}
    fit_losses, plain_losses = (torch.stack(losses[way]) for way in ("fit", "plain"))
    difference = (fit_losses - plain_losses).abs() / plain_losses.abs()
    return {
        "parameters": sum(p.numel() for p in problems["fit"].task.model.parameters()),
        "timings": timings,
        "steps_per_s": {way: 1 / timing["median"] for way, timing in timings.items()},
        "ratio": {
            **ratios(timings, "fit", "plain"),
            "cpu_median": timings["fit"]["cpu_median"] / timings["plain"]["cpu_median"],
            # Both ways of a round stand side by side.
            "cpu_rounds": sorted(
                fit / plain
                for (_, fit), (_, plain) in zip(taken["fit"], taken["plain"], strict=True)
            ),
        },
        "checks": {"largest_relative_difference_of_losses": float(difference.max())},
    }


def parsed() -> argparse.Namespace:
    parser = arguments(__doc__, device="auto")
    parser.add_argument("--size", choices=PRESETS, default="small", help="preset [small]")
    parser.add_argument("--part", choices=tuple(PARTS), help="codec or prior [both]")
    parser.add_argument(
        "--steps", type=int, default=20, help="timed per round; a report falls among them [20]"
    )
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    if options.size == "reference" and options.device.type != "cuda":
        parser.error("the size 'reference' needs a GPU; use small or tiny")
    return options


def main() -> None:
    options = parsed()
    parts = [options.part] if options.part else list(PARTS)
    own = (options.size, options.device, options.seed)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        in_turn = partial(pool.apply, peak)
        memory = {part: {way: in_turn((part, *own, way)) for way in WAYS} for part in parts}
    results = {part: measure(part, *own, options.steps, options.rounds) for part in parts}
    write(
        {
            "benchmark": "train_throughput",
            "machine": machine(str(options.device)),
            "settings": {"size": options.size, "steps": options.steps, "seed": options.seed},
            "results": {p: {**results[p], "memory_bytes": memory[p]} for p in parts},
        },
        options.json,
    )


if __name__ == "__main__":
    main()
