"""What pixels tell of a picture's past: that it was a JPEG, that it is drawn."""
