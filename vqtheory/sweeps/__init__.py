"""Many runs: which points there are, where they run, and the table of what came out."""
