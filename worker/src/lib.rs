//! The worker: a pure agent, its driver, its HTTP client.
