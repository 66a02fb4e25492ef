"""Write films: encoders, containers, the choice of streams, and verifying what was written."""
