//! Process skeleton: arguments, logging, admin server, metrics, readiness, task owner.
