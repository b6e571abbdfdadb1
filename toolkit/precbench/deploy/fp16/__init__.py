"""The float16 form: float32 outside, float16 inside, and in float32 what float16 does not hold."""
