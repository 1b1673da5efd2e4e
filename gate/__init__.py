"""May a candidate serve, and what was forgotten: evidence, bounds, intervals, verdicts, the measures on R.

Pure: nothing is trained, read from disk or served here.
"""
