"""The bytes of values on their way: between programs of this device, and between agents."""
