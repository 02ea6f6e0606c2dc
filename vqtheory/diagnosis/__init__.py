"""From how latents were seen to move, to which codes live, what the laws say of it, and what to turn."""
