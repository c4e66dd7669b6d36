"""Model families: one value each, and all that other rooms know of a single family."""
