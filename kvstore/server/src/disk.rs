//! What outlives the process: the write-ahead log, checkpoints, and the files that both lie in.
