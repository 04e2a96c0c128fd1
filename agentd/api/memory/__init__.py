"""Large values between processes of one device: segments of shared memory, and copies without detours."""
