"""Workloads: what is asked. Each kind yields prompts; every body is ready before load."""
