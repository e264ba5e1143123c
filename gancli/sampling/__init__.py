"""From sentences, speech, attributes or the captions of a dataset to images."""
