"""What every command does first and last."""
