"""Answering questions scene by scene."""
