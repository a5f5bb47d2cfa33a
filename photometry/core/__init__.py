"""The vocabulary: types and small pure functions on numpy and the standard library."""
