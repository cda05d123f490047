"""What devices said: decoded, kept without loss, and turned into states and charging sessions."""
