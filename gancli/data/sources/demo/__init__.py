"""Birds drawn from known attributes: the dataset, the drawing and the captions."""
