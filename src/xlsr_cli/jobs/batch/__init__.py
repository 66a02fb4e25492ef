"""A folder of files: plan, journal, workers, report."""
