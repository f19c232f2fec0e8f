//! A stream that is followed by a child for as long as it lives: bytes in, samples out.
//!
//! Owns the child's budget of CPU time, which is counted anew in each window: a limit of the kernel's would end every
//! stream that lives long enough. Made by [`crate::Launcher::follow`].

use std::{fs, io, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    process::ChildStdin,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use crate::{Failure, Limits, job::Demuxed, process::Process};

/// Ticks per second of the times in proc(5): `USER_HZ`, 100 on every Linux.
const TICKS_PER_S: u64 = 100;

/// Where the stream's bytes go in. Dropped, the stream has ended.
#[derive(Debug)]
pub struct Feed(ChildStdin);

impl Feed {
    /// Writes bytes of the stream; waits while the child has not read those before. Fails when the child is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

/// A stream being followed by a child. Dropping it kills the child.
#[derive(Debug)]
pub struct Following {
    process: Process,
    pid: Option<u32>,
    limits: Limits,
    window: Interval,
    /// CPU time that the child had taken when the window began, in ticks.
    taken: u64,
    ended: bool,
}

impl Following {
    pub(crate) fn new(mut process: Process, limits: &Limits) -> (Feed, Self) {
        let feed = Feed(process.take_stdin().expect("a process that just started has its input"));
        let length = Duration::from_secs(limits.cpu_window_s.max(1));
        let mut window = interval_at(Instant::now() + length, length);
        // What was not asked for in time is one long window, not several short ones.
        window.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pid = process.id();
        (feed, Self { process, pid, limits: *limits, window, taken: 0, ended: false })
    }

    /// The next thing in the stream, as [`crate::Demuxing::next`] tells a file's. Waits as long as the stream is
    /// silent.
    ///
    /// # Cancel safety
    /// A call that is dropped half-way loses part of a frame: drop the whole `Following` then.
    pub async fn next(&mut self) -> Result<Option<Demuxed>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let Self { process, pid, limits, window, taken, .. } = self;
        let received = {
            let receive = process.receive();
            tokio::pin!(receive);
            loop {
                tokio::select! {
                    frame = &mut receive => break Some(frame?),
                    _ = window.tick() => {
                        let now = pid.and_then(cpu_ticks).unwrap_or(*taken);
                        let used = now.saturating_sub(*taken);
                        *taken = now;
                        if used > limits.cpu_s_max.saturating_mul(TICKS_PER_S) {
                            break None;
                        }
                    }
                }
            }
        };
        let Some(frame) = received else { return Err(self.process.too_busy(&self.limits).await) };
        let next = self.process.demuxed(frame).await?;
        self.ended = next == Demuxed::End;
        Ok(Some(next))
    }

    /// The child's process id, while it runs; for logs and tests.
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }
}

/// CPU time of a process so far, its threads together, in ticks.
fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): `utime` and `stime` are fields 14 and 15, counted behind the name, which may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_and_grows() {
        let own = std::process::id();
        let before = cpu_ticks(own).unwrap();
        let started = std::time::Instant::now();
        while cpu_ticks(own).unwrap() < before + 5 {
            assert!(started.elapsed() < Duration::from_secs(30), "working takes CPU time");
        }
    }
}
