"""What is not stars."""
