"""Measure pictures: PSNR, SSIM, and the MATLAB-compatible shrinking that the field's tables use."""
