"""Questions about images: written, checked, answered with and without the image, filtered."""
