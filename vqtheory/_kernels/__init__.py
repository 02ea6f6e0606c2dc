"""Compiled functions on preallocated arrays: they validate nothing, draw nothing, read and write nothing."""
