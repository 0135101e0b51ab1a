"""The numpy reference model: layers in float32 and in fixed point, graphs of them, and exact rounding.

It is the arbiter of right answers, so it imports nothing of simhw but shapes and errors.
"""
