"""The processes of one training run: started by torchrun or accelerate launch, or the only one.

Every function works in a single process too, where it does nothing. All of them but `launched`,
`count`, `rank`, `is_main`, `share` and `first_to_fail` are collective: every process of the run has
to call them, in the same order.

Hugging Face Accelerate joins the processes and wraps models in PyTorch's DistributedDataParallel:
NCCL on GPUs, gloo on CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lqsep.core.errors import ConfigError, DeviceError

# How long processes wait for each other, above all while the first one reads and encodes the data:
# PyTorch's own limits, 10 and 30 minutes, are too short for that. A longer encoding goes on where
# it was when the launcher starts the processes again; a machine that is lost without a word is
# noticed after as long.
_PATIENCE = timedelta(hours=4)


def launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes, if there are any; gives the device that this one trains on.

    Raises:
        ConfigError: There are several, and accelerate is not installed.
        DeviceError: A GPU was named, but every process takes its own.
    """
    if not launched():
        yield device
        return
    if str(device) != device.type:
        raise DeviceError(
            f"training with several processes: each takes a GPU of its own, but '{device}' names "
            f"one; use -d {device.type}"
        )
    yield _accelerator(device).device
    # Not after an error: the others may wait for this process, and it for them.
    dist.destroy_process_group()


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _several() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if _several() else 0


def is_main() -> bool:
    """Whether this is the process that writes files and reports."""
    return rank() == 0


def share(batch_size: int, group: int = 1) -> slice:
    """This process's items of the joint batch: every ``count()``-th one.

    Args:
        batch_size: Items of the joint batch.
        group: The batch is this many equal parts whose items belong together: item ``i`` of each
            part falls to the same process.

    Raises:
        ConfigError: The items cannot be dealt out evenly.
    """
    if batch_size % (group * count()):
        raise ConfigError(
            f"training with {count()} processes: expected a batch_size that is a multiple of "
            f"{group * count()}, got {batch_size}; it counts the items of all processes"
        )
    return slice(rank(), batch_size, count())


def sum_(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if count() > 1:
        dist.all_reduce(tensor)
    return tensor


def broadcast_(tensor: Tensor) -> Tensor:
    """The main process's values, in place."""
    if count() > 1:
        dist.broadcast(tensor, 0)
    return tensor


def interleave(rows: Tensor) -> Tensor:
    """The joint batch of which every process has its `share` as ``rows``, along axis 0."""
    if count() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(count())]
    dist.all_gather(parts, rows.contiguous())
    return torch.stack(parts, 1).flatten(0, 1)


def gather(value: Any) -> list[Any]:
    """The (small) values of all processes, in every one."""
    if count() == 1:
        return [value]
    found: list[Any] = [None] * count()
    dist.all_gather_object(found, value)
    return found


def first_to_fail() -> bool:
    """Whether no other process of this attempt has asked before: the one to tell the error.

    Before the processes have joined, the first one of each machine.
    """
    if not _several():
        return int(os.environ.get("LOCAL_RANK", "0")) == 0
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        # The processes' common dictionary has no public name.
        store = dist.distributed_c10d._get_default_store()
        return bool(store.add(f"lqsep/failed/{attempt}", 1) == 1)
    except RuntimeError:  # it went with the process that kept it
        return True


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        dist.barrier()


def average_gradients(module: nn.Module, device: torch.device) -> nn.Module:
    """The module, its gradients averaged over all processes in every backward pass.

    Every forward pass starts from the first process's buffers.
    """
    if count() == 1:
        return module
    wrapped: nn.Module = _accelerator(device).prepare_model(module, device_placement=False)
    return wrapped


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()


def _accelerator(device: torch.device) -> Any:
    try:
        from accelerate import Accelerator, InitProcessGroupKwargs
    except ImportError as error:
        raise ConfigError(
            "training with several processes needs accelerate: pip install 'lqsep[train]'"
        ) from error
    # Networks choose their own precision, see `lqsep.core.training.loop.autocast`.
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
