"""The benchmarks: questions, training rows and scores. Imports no torch."""
