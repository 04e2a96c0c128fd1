"""The composition root: settings, the lane, effects, clock, plug-ins, logs; the one place that knows everybody."""
