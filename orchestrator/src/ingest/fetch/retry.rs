//! When to try again, and when to stop trying. Pure.

use std::time::Duration;

use super::Config;

/// Tries of one thing that go wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Retry {
    tries: u32,
    /// When the first of these tries failed.
    since_ms: Option<u64>,
}

impl Retry {
    /// Something new came.
    pub fn progressed(&mut self) {
        *self = Self::default();
    }

    /// A try failed: the pause before the next one, or `None` to give up. `asked` is what the server asked for, `luck`
    /// is from 0 to 1: who failed together does not come back together.
    pub fn failed(&mut self, config: &Config, now_ms: u64, asked: Option<Duration>, luck: f64) -> Option<Duration> {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let full_ms = config.retry_ms.saturating_mul(1 << self.tries.min(20)).min(config.retry_ms_max);
        self.tries += 1;
        let pause = Duration::from_millis(full_ms).mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0);
        let pause = pause.max(asked.unwrap_or_default());
        let waited = Duration::from_millis(now_ms.saturating_sub(since_ms));
        (waited + pause <= Duration::from_secs(config.give_up_s)).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let config = Config { retry_ms: 100, retry_ms_max: 1_000, give_up_s: 5, ..Config::default() };
        let mut retry = Retry::default();
        let mut now_ms = 0;
        let mut pauses_ms = Vec::new();
        while let Some(pause) = retry.failed(&config, now_ms, None, 1.0) {
            pauses_ms.push(pause.as_millis() as u64);
            now_ms += pause.as_millis() as u64;
        }
        assert_eq!(pauses_ms, [100, 200, 400, 800, 1_000, 1_000, 1_000]);
        assert_eq!(retry.failed(&config, now_ms, None, 0.0), Some(Duration::from_millis(500)), "half of it by luck");
        retry.progressed();
        assert_eq!(retry.failed(&config, now_ms, None, 0.0), Some(Duration::from_millis(50)), "it begins anew");
    }

    #[test]
    fn servers_say_when_to_come_back() {
        let config = Config { retry_ms: 100, retry_ms_max: 1_000, give_up_s: 5, ..Config::default() };
        let asked = |s| Some(Duration::from_secs(s));
        assert_eq!(Retry::default().failed(&config, 0, asked(3), 1.0), asked(3));
        assert_eq!(Retry::default().failed(&config, 0, asked(6), 1.0), None, "too late for us");
        let mut clock_set_back = Retry::default();
        clock_set_back.failed(&config, 9_000, None, 1.0);
        assert!(clock_set_back.failed(&config, 0, None, 1.0).is_some());
    }
}
