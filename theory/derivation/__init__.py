"""From a loss or a network graph to equations of motion, and from those to fewer: every step checks itself."""
