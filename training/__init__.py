"""What makes the files in ``models/``. Needs PyTorch; the package never imports it."""
