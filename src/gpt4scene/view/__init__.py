"""Prepared scenes in the browser, in three dimensions: to look at, and to name and correct their objects."""
