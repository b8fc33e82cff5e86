"""Reads the mood of messages."""
