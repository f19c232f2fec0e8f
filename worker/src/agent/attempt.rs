//! Attempts: a request or a transfer that is made again until it works.

use super::{Call, outbox::Outbox, session::Open};

#[derive(Debug, Clone, Copy)]
pub(super) enum Attempt {
    /// Due at this time, if a session is open.
    At(u64),
    /// Under way. It is taken for lost at `until_ms`.
    Asked { call: Call, epoch: u64, sent_ms: u64, until_ms: u64 },
    /// It was answered, and nothing more is asked.
    Over,
}

/// Numbers a request that is made now under `session`.
pub(super) fn ask(session: &Open, patience_ms: u64, out: &mut Outbox) -> (Call, Attempt) {
    let call = out.call();
    let until_ms = out.after_ms(patience_ms);
    (call, Attempt::Asked { call, epoch: session.epoch, sent_ms: out.now_ms, until_ms })
}

impl Attempt {
    pub(super) fn wake_ms(self, session: bool) -> u64 {
        match self {
            Self::At(at_ms) if session => at_ms,
            Self::Asked { until_ms, .. } => until_ms,
            Self::At(_) | Self::Over => u64::MAX,
        }
    }

    pub(super) fn is_due(self, out: &Outbox) -> bool {
        matches!(self, Self::At(at_ms) if at_ms <= out.now_ms)
    }

    /// The call under way.
    pub(super) fn call(self) -> Option<Call> {
        if let Self::Asked { call, .. } = self { Some(call) } else { None }
    }

    /// The call under way, if it has taken too long.
    pub(super) fn overdue(self, out: &Outbox) -> Option<Call> {
        match self {
            Self::Asked { call, until_ms, .. } if until_ms <= out.now_ms => Some(call),
            _ => None,
        }
    }

    /// Takes `call` for answered, if it is the one under way; the epoch of its session and when it was sent.
    pub(super) fn answered(&mut self, call: Call) -> Option<(u64, u64)> {
        match *self {
            Self::Asked { call: asked, epoch, sent_ms, .. } if asked == call => {
                *self = Self::Over;
                Some((epoch, sent_ms))
            }
            _ => None,
        }
    }
}
