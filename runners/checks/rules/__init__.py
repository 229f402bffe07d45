"""The rules, a file for each subject; every Rule in a module here is found by itself."""

# The modules that have something to say where no engine is started (a test keeps this true).
WITHOUT_AN_ENGINE = (
    "benchmark",
    "benchmark_dataset",
    "benchmark_load",
    "engine",
    "kserve_time",
    "tgi",
)
