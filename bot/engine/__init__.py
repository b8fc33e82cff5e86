"""Generates answers: local checkpoints, HTTP servers, and a scripted twin."""
