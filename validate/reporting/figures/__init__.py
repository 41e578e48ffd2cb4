"""The parts of a figure: its look, its axes and words, and what the judge looked at."""
