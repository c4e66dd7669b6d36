"""Figures as pure functions of answers and references: no file is read here but what a metric itself needs."""
