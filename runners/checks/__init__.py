"""The validator: what the engine, KServe or the benchmark itself would reject."""
