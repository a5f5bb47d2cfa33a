"""Files: one format per module; knows the vocabulary only."""
