"""Putting a version where it answers: into a container image, which holds what scores and nothing else."""
