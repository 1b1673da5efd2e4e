"""Whether a candidate still can what its owner expects of it: each skill has its bounds, and what broke is named."""
