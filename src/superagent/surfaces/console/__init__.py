"""The console: a bundle of static files at `/ui`. All that it does is operations and the event stream."""
