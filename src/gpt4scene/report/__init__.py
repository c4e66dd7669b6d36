"""HTML pages about scores and answers."""
