//! What may be set about RTMP. Times are wall-clock milliseconds unless they say media.

use serde::{Deserialize, Serialize};

/// Limits of the RTMP server, each with a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Connections at once; one more is closed as it comes.
    pub connections_max: u32,
    /// From connecting to the end of the handshake.
    pub handshake_ms_max: u32,
    /// From the end of the handshake to the `publish` command.
    pub publish_ms_max: u32,
    /// How long the orchestrator may take to answer whether a publisher may publish.
    pub answer_ms_max: u32,
    /// Longest silence of a publisher: no whole message in this time.
    pub idle_ms_max: u32,
    /// How long a peer may take to read an answer.
    pub write_ms_max: u32,
    /// Bytes of one message, so of one frame, from 65,536 to 16,777,215. A publisher's connection holds at most
    /// three times as much, any other less than 65,536 bytes.
    pub message_bytes_max: u32,
    /// Media milliseconds to wait for the second of two tracks before going on without it.
    pub tracks_wait_ms_max: u32,
    /// How long a refused publisher waits for its answer. Slows guessing of keys.
    pub refusal_delay_ms: u32,
    /// Refused publishers that wait at once; one more is closed without an answer.
    pub refusals_waiting_max: u32,
    /// Silence after which TCP asks whether the peer is still there, in seconds; then every fifth of it.
    pub keepalive_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 512,
            handshake_ms_max: 5_000,
            publish_ms_max: 10_000,
            answer_ms_max: 10_000,
            idle_ms_max: 30_000,
            write_ms_max: 5_000,
            message_bytes_max: 8 << 20,
            tracks_wait_ms_max: 1_500,
            refusal_delay_ms: 500,
            refusals_waiting_max: 64,
            keepalive_s: 15,
        }
    }
}

impl Config {
    /// Says what is out of range, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if !(0x1_0000..=0xff_ffff).contains(&self.message_bytes_max) {
            return Err(format!("message_bytes_max is {}: set 65536 to 16777215", self.message_bytes_max));
        }
        let positive = [
            ("connections_max", self.connections_max),
            ("handshake_ms_max", self.handshake_ms_max),
            ("publish_ms_max", self.publish_ms_max),
            ("answer_ms_max", self.answer_ms_max),
            ("idle_ms_max", self.idle_ms_max),
            ("write_ms_max", self.write_ms_max),
            ("keepalive_s", self.keepalive_s),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("{name} is 0: set at least 1")),
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
        let set: Config = toml::from_str("idle_ms_max = 7").unwrap();
        assert_eq!(set, Config { idle_ms_max: 7, ..Config::default() });
        assert!(toml::from_str::<Config>("idle_ms = 7").is_err());
        assert!(Config { message_bytes_max: 1, ..Config::default() }.check().is_err());
        assert!(Config { connections_max: 0, ..Config::default() }.check().unwrap_err().contains("connections_max"));
    }
}
