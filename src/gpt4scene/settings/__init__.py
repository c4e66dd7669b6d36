"""What a user types: YAML keys, flags and the public ways of calling."""
