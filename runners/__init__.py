"""Benchmarking toolkit for LLM serving on Kubernetes/KServe."""

__version__ = "0.1.0"
