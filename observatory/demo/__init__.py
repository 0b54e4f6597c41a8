"""The demo's material: made-up sessions as they would be written, and real ones again. Pure, but for `replay`."""
