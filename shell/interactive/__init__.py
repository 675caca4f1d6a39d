"""The shell at a terminal, on prompt_toolkit: loaded only there."""
