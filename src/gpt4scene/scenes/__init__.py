"""Scene preparation: scans to marked frames and a bird's-eye view. Imports no torch."""
