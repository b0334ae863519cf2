"""The pocket family's SAM: masks of products from points and boxes."""
