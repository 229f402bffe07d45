"""A server with a known truth: OpenAI-compatible, on a schedule, with faults on request.

Everything it answers is stamped as simulated; it measures clients, never models.
"""
