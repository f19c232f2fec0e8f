//! The contract's suite.
