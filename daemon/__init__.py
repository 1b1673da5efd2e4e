"""The main process: settings, wiring, triggers, the gate, HTTP surface, metrics endpoint, command line."""
