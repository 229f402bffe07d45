"""Metric names, one file per engine; see runners/telemetry/engine_names.py."""
