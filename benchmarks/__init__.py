"""What the README claims, measured: `python -m benchmarks`. Timing lives here, never in a test."""
