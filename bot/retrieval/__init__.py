"""Finds passages: documents, dense and keyword indexes, and their fusion."""
