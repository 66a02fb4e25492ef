"""Arrays in, arrays out: models, sessions, tiles, colour and resampling. Knows no files of users."""
