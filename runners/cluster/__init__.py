"""The cluster: check, apply, watch, diagnose, connect, tear down. Plain dicts over the real API."""
