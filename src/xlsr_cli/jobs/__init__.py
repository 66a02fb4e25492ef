"""Files: one picture, one video, or a whole folder of them."""
