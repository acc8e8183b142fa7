"""capwright: train, run and measure image captioners that must name things right."""

__version__ = "0.1.0"
