"""Synthetic rooms and a tiny model, so that everything runs anywhere."""
