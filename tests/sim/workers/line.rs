//! A worker's line to the orchestrator: requests and answers on the wire, and connections that break.

use millrace_proto::{outcome, task::Lease};
use millrace_worker::{
    agent::{Call, Input},
    sign,
};
use rand::Rng;

use super::STALL_MS;
use crate::{
    desk,
    wire::{self, Answer, Ask, Claim, Fate, Request, Who},
    world::{Event, World},
};

impl World {
    /// Also hands in under another worker's lease, which it has heard of.
    pub(super) fn hand_in_for_others(&mut self, who: Who, session: &str, own: &Lease, result: &outcome::Result) {
        let secret = self.workers[who.worker].secret();
        for lease in self.heard_of.clone().into_iter().filter(|lease| *lease != own.id) {
            let outcome = sign::outcome(secret, &lease, result.clone());
            let held = Claim { session: session.to_owned(), lease, token: own.token.clone() };
            let request = Request { who, call: Call(u64::MAX), ask: Ask::Finish { held, outcome } };
            self.after(1, Event::Arrives(request));
        }
    }

    /// Sends a request.
    pub(super) fn ask(&mut self, who: Who, call: Call, ask: Ask) {
        let name = ask.name();
        if let Ask::Finish { held, .. } | Ask::Renew { held } = &ask {
            self.heard_of.insert(held.lease.clone());
            if self.heard_of.len() > 4 {
                self.heard_of.pop_first();
            }
        }
        let Some(body) = self.body(who) else { return };
        body.calls.insert(call, name);
        match self.fate(who) {
            Fate::Arrives { after_ms } => {
                let request = Request { who, call, ask };
                if self.now_ms < self.scenario.calm_ms && self.r.random_bool(self.scenario.wire.twice) {
                    let again_ms = after_ms + self.r.random_range(0..=self.scenario.wire.late_ms_max);
                    self.after(again_ms, Event::Arrives(request.clone()));
                }
                self.after(after_ms, Event::Arrives(request));
            }
            Fate::Breaks { after_ms } => self.say_broken(after_ms, who, call),
            Fate::Lost if ask.is_transfer() => self.say_broken(STALL_MS, who, call),
            Fate::Lost => {}
        }
    }

    fn fate(&mut self, who: Who) -> Fate {
        let calm = self.now_ms >= self.scenario.calm_ms;
        let cuts = &self.workers[who.worker].plan.cuts;
        wire::fate(&self.scenario.wire, cuts, calm, self.now_ms, &mut self.r)
    }

    fn say_broken(&mut self, after_ms: u64, who: Who, call: Call) {
        let ask = self.body(who).and_then(|body| body.calls.get(&call).copied()).unwrap_or("nothing");
        if let Some(answer) = broken(call, ask) {
            self.after(after_ms, Event::Answer(who, answer));
        }
    }

    /// Sends an answer.
    pub(crate) fn answer(&mut self, who: Who, call: Call, answer: Answer) {
        let is_transfer = matches!(answer.input, Input::Fetched(..) | Input::Uploaded(..));
        match self.fate(who) {
            Fate::Arrives { after_ms } => self.after(after_ms, Event::Answer(who, answer)),
            Fate::Breaks { after_ms } => self.say_broken(after_ms, who, call),
            Fate::Lost if is_transfer => self.say_broken(STALL_MS, who, call),
            Fate::Lost => {}
        }
    }

    /// The orchestrator's end of a connection broke. The worker may hear of it.
    pub(crate) fn connection_broke(&mut self, who: Who, call: Call) {
        match self.fate(who) {
            Fate::Arrives { after_ms } | Fate::Breaks { after_ms } => self.say_broken(after_ms, who, call),
            Fate::Lost => self.say_broken(STALL_MS, who, call),
        }
    }

    /// The worker's end of a connection broke. The orchestrator may hear of it.
    pub(super) fn hang_up(&mut self, who: Who, call: Call) {
        let half_open = self.now_ms < self.scenario.calm_ms && self.r.random_bool(self.scenario.wire.half_open);
        if let (Fate::Arrives { after_ms }, false) = (self.fate(who), half_open) {
            self.after(after_ms, Event::HungUp(who, call));
        }
    }
}

/// Says an answer that is no agent's business to whoever asked.
fn broken(call: Call, ask: &str) -> Option<Answer> {
    let fault = desk::away("the connection broke");
    Some(Answer::from(match ask {
        "challenge" => Input::Challenged(call, Err(fault)),
        "open" => Input::Opened(call, Err(fault)),
        "poll" => Input::Polled(call, Err(fault)),
        "renew" => Input::Renewed(call, Err(fault)),
        "finish" => Input::Finished(call, Err(fault)),
        "fetch" => Input::Fetched(call, Err(fault)),
        "upload" => Input::Uploaded(call, Err(fault)),
        _ => return None,
    }))
}
