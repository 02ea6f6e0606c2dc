"""A rule follows a stream: what was asked for, the loop, its record, and the folder, text and picture made of it."""
