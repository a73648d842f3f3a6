"""lqsep: unsupervised source separation by Bayesian inference in a discrete latent domain.

Importing this package is cheap: its names are imported when they are first used. They are all that
a user or an author of plugins needs, and stay when modules move.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lqsep.core.audio.files import read_audio, write_audio
    from lqsep.core.audio.mixtures import MixtureReader
    from lqsep.core.components.assemble import BuildContext, TrainContext, build
    from lqsep.core.components.component_config import ComponentConfig
    from lqsep.core.components.config import PipelineConfig, load_config
    from lqsep.core.components.registry import Registry
    from lqsep.core.components.spec import CommandSpec, ComponentSpec, Kind, hookimpl
    from lqsep.core.components.trainers import Trained, weights_metadata
    from lqsep.core.errors import (
        AudioError,
        CheckpointError,
        ConfigError,
        DeviceError,
        EmptySupportError,
        IncompatibleComponentsError,
        LqsepError,
        PluginError,
        ShapeError,
    )
    from lqsep.core.inference.filters import Filters
    from lqsep.core.inference.posterior import SequencePosterior
    from lqsep.core.inference.state import Draw, PosteriorState
    from lqsep.core.interfaces.candidates import (
        Candidates,
        DecodedCandidates,
        FrameScores,
        JointScores,
        Selection,
    )
    from lqsep.core.interfaces.codec import Codec, CodecInfo, source_index
    from lqsep.core.interfaces.data import EncodedMixture, Mixture
    from lqsep.core.interfaces.dataset import Dataset, Track, TrackInfo
    from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
    from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
    from lqsep.core.interfaces.prior import Prior, PriorInfo
    from lqsep.core.interfaces.refiner import RefineContext, Refiner
    from lqsep.core.interfaces.sampler import Sampler
    from lqsep.core.interfaces.selector import Selector
    from lqsep.core.likelihoods.bilinear import BilinearLikelihood, GramMatrix
    from lqsep.core.likelihoods.dense import DenseLikelihood
    from lqsep.core.likelihoods.sparse import SparseLikelihood
    from lqsep.core.likelihoods.sum_table import SumTableIndex, SumTableLikelihood
    from lqsep.core.plotting.separation import plots_beside
    from lqsep.core.separation.output.settings import OutputSettings
    from lqsep.core.separation.output.track import WrittenTrack, write_track
    from lqsep.core.separation.pipeline import Pipeline, SegmentResult
    from lqsep.core.separation.separation import Separation
    from lqsep.core.separation.separator import Separator
    from lqsep.core.store.model_directory import Model, load_model
    from lqsep.core.store.weights import fingerprint, load_weights, save_weights
    from lqsep.core.training.events import (
        TrainEncoding,
        TrainFinished,
        TrainNote,
        TrainProgress,
        TrainStep,
        TrainValidation,
    )
    from lqsep.core.training.loop import Task, fit
    from lqsep.core.training.seeds import spawn_generator, spawn_seed
    from lqsep.core.training.settings import LoopSettings

__version__ = "0.1.0"

__all__ = [
    "AudioError",
    "BilinearLikelihood",
    "BoundLikelihood",
    "BuildContext",
    "Candidates",
    "CheckpointError",
    "Codec",
    "CodecInfo",
    "CommandSpec",
    "ComponentConfig",
    "ComponentSpec",
    "ConfigError",
    "Dataset",
    "DecodedCandidates",
    "DenseLikelihood",
    "DeviceError",
    "Draw",
    "EmptySupportError",
    "EncodedMixture",
    "Filters",
    "FrameLikelihood",
    "FrameScores",
    "GramMatrix",
    "IncompatibleComponentsError",
    "JointScores",
    "Kind",
    "Likelihood",
    "LoopSettings",
    "LqsepError",
    "Mixture",
    "MixtureReader",
    "Model",
    "OutputSettings",
    "Pipeline",
    "PipelineConfig",
    "PluginError",
    "PosteriorState",
    "Prior",
    "PriorInfo",
    "RefineContext",
    "Refiner",
    "Registry",
    "Sampler",
    "SegmentResult",
    "Selection",
    "Selector",
    "Separation",
    "Separator",
    "SequencePosterior",
    "ShapeError",
    "SparseLikelihood",
    "SumTableIndex",
    "SumTableLikelihood",
    "Task",
    "Track",
    "TrackInfo",
    "TrainContext",
    "TrainEncoding",
    "TrainFinished",
    "TrainNote",
    "TrainProgress",
    "TrainStep",
    "TrainValidation",
    "Trained",
    "WrittenTrack",
    "__version__",
    "build",
    "fingerprint",
    "fit",
    "hookimpl",
    "load_config",
    "load_model",
    "load_weights",
    "plots_beside",
    "read_audio",
    "save_weights",
    "source_index",
    "spawn_generator",
    "spawn_seed",
    "weights_metadata",
    "write_audio",
    "write_track",
]

_HOMES = {
    "lqsep.core.audio.files": ("read_audio", "write_audio"),
    "lqsep.core.audio.mixtures": ("MixtureReader",),
    "lqsep.core.components.assemble": ("BuildContext", "TrainContext", "build"),
    "lqsep.core.components.component_config": ("ComponentConfig",),
    "lqsep.core.components.config": ("PipelineConfig", "load_config"),
    "lqsep.core.components.registry": ("Registry",),
    "lqsep.core.components.spec": ("CommandSpec", "ComponentSpec", "Kind", "hookimpl"),
    "lqsep.core.components.trainers": ("Trained", "weights_metadata"),
    "lqsep.core.errors": (
        "AudioError",
        "CheckpointError",
        "ConfigError",
        "DeviceError",
        "EmptySupportError",
        "IncompatibleComponentsError",
        "LqsepError",
        "PluginError",
        "ShapeError",
    ),
    "lqsep.core.inference.filters": ("Filters",),
    "lqsep.core.inference.posterior": ("SequencePosterior",),
    "lqsep.core.inference.state": ("Draw", "PosteriorState"),
    "lqsep.core.interfaces.candidates": (
        "Candidates",
        "DecodedCandidates",
        "FrameScores",
        "JointScores",
        "Selection",
    ),
    "lqsep.core.interfaces.codec": ("Codec", "CodecInfo", "source_index"),
    "lqsep.core.interfaces.data": ("EncodedMixture", "Mixture"),
    "lqsep.core.interfaces.dataset": ("Dataset", "Track", "TrackInfo"),
    "lqsep.core.interfaces.frame_likelihood": ("FrameLikelihood",),
    "lqsep.core.interfaces.likelihood": ("BoundLikelihood", "Likelihood"),
    "lqsep.core.interfaces.prior": ("Prior", "PriorInfo"),
    "lqsep.core.interfaces.refiner": ("RefineContext", "Refiner"),
    "lqsep.core.interfaces.sampler": ("Sampler",),
    "lqsep.core.interfaces.selector": ("Selector",),
    "lqsep.core.likelihoods.bilinear": ("BilinearLikelihood", "GramMatrix"),
    "lqsep.core.likelihoods.dense": ("DenseLikelihood",),
    "lqsep.core.likelihoods.sparse": ("SparseLikelihood",),
    "lqsep.core.likelihoods.sum_table": ("SumTableIndex", "SumTableLikelihood"),
    "lqsep.core.plotting.separation": ("plots_beside",),
    "lqsep.core.separation.output.settings": ("OutputSettings",),
    "lqsep.core.separation.output.track": ("WrittenTrack", "write_track"),
    "lqsep.core.separation.pipeline": ("Pipeline", "SegmentResult"),
    "lqsep.core.separation.separation": ("Separation",),
    "lqsep.core.separation.separator": ("Separator",),
    "lqsep.core.store.model_directory": ("Model", "load_model"),
    "lqsep.core.store.weights": ("fingerprint", "load_weights", "save_weights"),
    "lqsep.core.training.events": (
        "TrainEncoding",
        "TrainFinished",
        "TrainNote",
        "TrainProgress",
        "TrainStep",
        "TrainValidation",
    ),
    "lqsep.core.training.loop": ("Task", "fit"),
    "lqsep.core.training.seeds": ("spawn_generator", "spawn_seed"),
    "lqsep.core.training.settings": ("LoopSettings",),
}
_LAZY = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lqsep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
