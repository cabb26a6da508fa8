"""Answers for the eye: tables, JSON and contact sheets."""
