//! What may be set about SRT. Times are wall-clock milliseconds unless they say media.

use serde::{Deserialize, Serialize};

/// Limits of the SRT server, each with a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Connections at once; one more is closed as it comes. Each that publishes has a media child of its own.
    pub connections_max: u32,
    /// Connections at once that wait for the answer whether they may publish.
    pub answers_waiting_max: u32,
    /// How long the orchestrator may take to answer.
    pub answer_ms_max: u32,
    /// Longest time in which nothing of a publisher's stream becomes a frame.
    pub idle_ms_max: u32,
    /// How long a packet may take, with being asked for again if it is lost; a publisher that wants more gets it.
    pub latency_ms: u32,
    /// Packets of a connection that may wait for lost ones before them: bit rate times latency, at most 1,456 bytes
    /// each, twice.
    pub packets_max: u32,
    /// Bytes of a publisher that may wait for the store; one with more is cut off.
    pub buffer_bytes_max: u64,
    /// Media milliseconds to look for the tracks.
    pub tracks_wait_ms_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 64,
            answers_waiting_max: 32,
            answer_ms_max: 10_000,
            idle_ms_max: 30_000,
            latency_ms: 200,
            packets_max: 8_192,
            buffer_bytes_max: 32 << 20,
            tracks_wait_ms_max: 1_500,
        }
    }
}

impl Config {
    /// Says what is out of range, if anything is.
    pub fn check(&self) -> Result<(), String> {
        // The wire tells the latency in 16 bits.
        if self.latency_ms > u32::from(u16::MAX) {
            return Err(format!("latency_ms is {}: set at most 65535", self.latency_ms));
        }
        let least = [
            ("connections_max", u64::from(self.connections_max), 1),
            ("answers_waiting_max", self.answers_waiting_max.into(), 1),
            ("answer_ms_max", self.answer_ms_max.into(), 1),
            ("idle_ms_max", self.idle_ms_max.into(), 1),
            ("packets_max", self.packets_max.into(), 32),
            ("buffer_bytes_max", self.buffer_bytes_max, 1 << 16),
        ];
        match least.iter().find(|(_, value, least)| value < least) {
            Some((name, value, least)) => Err(format!("{name} is {value}: set at least {least}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range_and_unknown_keys_are_refused() {
        Config::default().check().unwrap();
        let set: Config = toml::from_str("latency_ms = 7").unwrap();
        assert_eq!(set, Config { latency_ms: 7, ..Config::default() });
        assert!(toml::from_str::<Config>("latency = 7").is_err());
        assert!(Config { latency_ms: 70_000, ..Config::default() }.check().is_err());
        let none = Config { connections_max: 0, ..Config::default() };
        assert!(none.check().unwrap_err().contains("connections_max is 0"));
    }
}
