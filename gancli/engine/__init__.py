"""The training engine: phases, loop, checkpoints, averaged weights, several processes, events. It knows no paper."""
