"""The loop that trainers share, if they want it.

``events`` (what trainers tell) and ``seeds`` (where random numbers come from) are for all of them.
``loop`` runs steps, ``state`` and ``checkpoints`` make it resumable, ``settings``, ``optimizers``,
``metrics_log``; ``processes`` and ``shared_tensors`` for several processes that train together.

Imports ``store`` and what lies below it.
"""
