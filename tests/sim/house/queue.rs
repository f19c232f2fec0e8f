//! The orchestrator's side of the wire: requests that arrive, polls that wait, connections that end.

use millrace_proto::worker::Polled;
use millrace_worker::agent::{Call, Input};

use super::Effect;
use crate::{
    desk,
    wire::{Request, Who},
    world::World,
};

impl World {
    /// Answers the polls that leases were given to, or whose place was taken by a newer one.
    pub(super) fn look_at_places(&mut self) {
        use tokio::sync::oneshot::error::TryRecvError;
        let Some(house) = &mut self.house else { return };
        let mut told = Vec::new();
        for (&number, place) in &mut house.places {
            match place.ticket.leases.try_recv() {
                Ok(leases) => told.push((number, leases)),
                Err(TryRecvError::Closed) => told.push((number, Vec::new())),
                Err(TryRecvError::Empty) => {}
            }
        }
        for (number, leases) in told {
            let place = self.house.as_mut().and_then(|house| house.places.remove(&number)).expect("it was seen above");
            let revoked = place.ticket.revoked.clone();
            let input = Input::Polled(place.call, Ok(Polled { leases, revoked }));
            self.answer(place.who, place.call, input.into());
        }
    }

    /// A poll has waited long enough.
    pub(crate) fn poll_ends(&mut self, number: u64) {
        let Some(house) = &mut self.house else { return };
        let Some(place) = house.places.remove(&number) else { return };
        let revoked = place.ticket.revoked.clone();
        let leases = house.rooms.farm.leave(place.ticket);
        let input = Input::Polled(place.call, Ok(Polled { leases, revoked }));
        self.answer(place.who, place.call, input.into());
    }

    /// A request arrives.
    pub(crate) fn arrives(&mut self, request: Request) {
        let (who, call) = (request.who, request.call);
        let Some(house) = &self.house else { return self.connection_broke(who, call) };
        let (rooms, name) = (house.rooms.clone(), request.ask.name());
        self.spawn(name, Some((who, call)), async move {
            let (who, call, said) = desk::serve(rooms, request).await;
            Effect::Said(who, call, said)
        });
    }

    /// The worker hung up: its request is dropped wherever it is.
    pub(crate) fn hung_up(&mut self, who: Who, call: Call) {
        let Some(house) = &mut self.house else { return };
        house.steps.retain(|_, under| under.of != Some((who, call)));
        let gone: Vec<u64> =
            house.places.iter().filter(|(_, place)| (place.who, place.call) == (who, call)).map(|(&n, _)| n).collect();
        for number in gone {
            let Some(house) = &mut self.house else { return };
            let place = house.places.remove(&number).expect("it was seen above");
            let rooms = house.rooms.clone();
            let leases = rooms.farm.leave(place.ticket);
            if !leases.is_empty() {
                self.spawn("undeliver", None, async move {
                    // Where this fails, the leases run out by themselves.
                    let _ = rooms.farm.undeliver(&leases, rooms.gate.now_ms()).await;
                    Effect::Nothing
                });
            }
        }
    }
}
