"""Teach vision-language models to understand 3D rooms from video."""

__version__ = "0.1.0"
