"""Somebody else's renderer: Wan-Animate (Cheng et al. 2025) through diffusers, fed with what we captured."""
