"""Samplers: from a posterior over joint code sequences to candidates."""
