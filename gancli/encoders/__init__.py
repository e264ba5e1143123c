"""Text, speech and image encoders, trained by the toolkit itself and frozen while a GAN trains against them."""
