"""Recordings: one reader a format, each giving a Scan. Imports no torch."""
