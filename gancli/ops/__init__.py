"""Fast, exact and twice differentiable operations that the papers do not describe."""
