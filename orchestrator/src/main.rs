//! The orchestrator's program: reads the configuration and starts the house.

fn main() {}
