"""From the records of a run to its results."""

from typing import Any

from runners.rundir import RunDirectory


def measure(run: RunDirectory) -> dict[str, Any]:
    """Read a run directory, write results.json and results.csv, return the results.

    Raises UsageError where the directory holds no records, OutputError where nothing can be
    written. A run in which every request failed is measured all the same.
    """
    from runners.measure.results import measured
    from runners.measure.table import csv_row

    results = measured(run)
    run.write_json("results.json", results)
    run.write_text("results.csv", csv_row(results))
    return results
