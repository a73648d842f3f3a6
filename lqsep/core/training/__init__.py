"""The loop that trainers share, if they want it.

``loop`` runs steps, ``state`` and ``checkpoints`` make it resumable, ``settings``, ``optimizers``,
``metrics_log``; ``processes`` and ``shared_tensors`` for several processes that train together.

Imports ``store`` and what lies below it.
"""
