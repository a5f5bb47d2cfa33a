"""Sequences: read, compute, write."""
