"""What people look at: figures, equations, and the report."""
