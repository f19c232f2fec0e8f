//! The network between a worker and the orchestrator is cut, and stalls.

use std::time::Instant;

use crate::{
    clip::live_source,
    house::House,
    live::{assert_every_frame, recording, small_ladder},
    proxy::{Line, Proxy},
    push::push,
    wait::{s, until},
    watch::Watch,
};

#[test]
fn a_cut_and_a_stalled_network_lose_nothing() {
    let mut house = House::with_workers(0);
    let proxy = Proxy::to(&house.http);
    house.add_worker(&format!("http://{}", proxy.address));
    house.until_online(1);
    let source = live_source(40);
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let mut publisher = push(&house, &stream, &source);
    let began = Instant::now();
    // Seconds after the start, and what the network does from then on.
    let mut plan =
        [(6, Line::Cut), (12, Line::Up), (18, Line::Stalled), (26, Line::Up), (30, Line::Cut), (31, Line::Up)]
            .into_iter()
            .peekable();
    let status = until("the end of the push", s(80), || {
        watch.assert_holding();
        if let Some((_, line)) = plan.next_if(|(at_s, _)| began.elapsed() >= s(*at_s)) {
            proxy.set(line);
        }
        publisher.ended()
    });
    assert!(status.success(), "{}", publisher.log());
    assert!(plan.next().is_none(), "the push ended before the last change");
    let recorded = recording(&house, &stream);
    watch.finish();
    assert_every_frame(&recorded, &source);
}
