"""The flags that choose a model and change its pipeline."""
