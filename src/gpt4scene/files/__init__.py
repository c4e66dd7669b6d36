"""What lies on disk: each file format is read and written in one module here. Imports no torch."""
