"""One folder for each part of the outer world. No adapter imports another."""
