"""What we think the sky and detector look like."""
