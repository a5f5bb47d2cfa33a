"""Light curves from TESS full-frame images."""

__version__ = "0.1.0"
