//! The end of a world: book, store, publishers and players must tell one story.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use millrace_orchestrator::{
    media::MediaStore,
    store::{
        record::{Segment, SegmentState},
        reports::{MODERATION, Of, PRODUCTS},
    },
    task::{State, Task},
    uploads,
};
use millrace_proto::{
    StreamId,
    api::{HoldState, StreamState},
    offer::Capability,
};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::{
    check::Book,
    house::{Effect, playlists},
    labour::{Frame, Made, Taint},
    world::World,
};

impl World {
    /// Compares everything with everything, once all is quiet.
    pub(crate) async fn finale(&mut self) {
        for at in 0..self.publishers.len() {
            let id = self.publishers[at].id.clone();
            self.compare_store(&id).await;
            self.compare_publisher(at);
            self.compare_player(&id).await;
        }
        self.compare_disk().await;
    }

    /// Of what workers uploaded, what was accepted is there, and nothing else.
    async fn compare_disk(&self) {
        let media = MediaStore::over(self.objects.clone());
        if let Err(error) = uploads::sweep(&self.truth, &media).await {
            self.trace.object(format_args!("uploads can't be swept: {error}"));
        }
        let mut accepted = BTreeSet::new();
        for publisher in &self.publishers {
            let segments = self.truth.segments(&publisher.id, 0, 100_000).await.expect("the store works");
            let renditions = segments.iter().flat_map(|segment| &segment.renditions);
            accepted.extend(renditions.map(|media| format!("{}/{}", publisher.id, media.segment.sha256)));
        }
        let mut disk = self.objects.list(None);
        while let Some(Ok(meta)) = disk.next().await {
            let key = meta.location.to_string();
            let found = self.objects.get(&meta.location).await.expect("it was listed");
            let made = Made::read(&found.bytes().await.expect("it is in memory"));
            if key.starts_with("_uploads") || made.is_some() && !accepted.contains(&key) {
                self.trace.object(format_args!("{key} is left behind"));
            }
        }
    }

    async fn compare_store(&self, id: &StreamId) {
        let stream = self.truth.stream(id).await.ok().flatten().expect("the store works");
        if stream.state != StreamState::Ended || stream.listed_seq != stream.next_seq {
            self.trace.object(format_args!("{id}: is {:?} at the end", stream.state));
        }
        let end_ms = stream.tail.map_or(0, |tail| (tail.end_ns / 1_000_000) as i64);
        for position_ms in self.watch.positions(id) {
            if position_ms != end_ms {
                self.trace.object(format_args!("{id}: a chain ends at {position_ms} of {end_ms}"));
            }
        }
        let mut marks = Vec::new();
        for (kind, track) in [(Capability::Products, PRODUCTS), (Capability::Moderation, MODERATION)] {
            let of = Of { stream: id, kind, track };
            marks.extend(self.truth.marks(of, 0, i64::MAX, 10_000).await.expect("the store works"));
        }
        for mark in marks.iter().filter(|mark| mark.entry.open || mark.entry.end_ms > end_ms) {
            self.trace.object(format_args!("{id}: {:?} at the end {end_ms}", mark.entry));
        }
        let segments = self.truth.segments(id, 0, 100_000).await.expect("the store works");
        let (kept, forgotten, first) =
            self.watch.book(id, |book| (book.segments.clone(), book.forgotten as usize, book.first));
        if segments.len() != kept.len() - forgotten || stream.next_seq != kept.len() as u64 {
            let counts = (segments.len(), kept.len(), forgotten, stream.next_seq);
            self.trace.object(format_args!("{id}: (stored, committed, forgotten, counted) are {counts:?}"));
        }
        let holds = self.watch.book(id, Book::holds);
        let is_held = |seq: u64| holds.contains_key(&seq);
        let failed = (0..).zip(&kept).filter(|(seq, kept)| kept.state != SegmentState::Ready && !is_held(*seq)).count();
        let withheld = holds.values().filter(|state| **state != HoldState::Approved).count();
        if withheld as u64 != stream.withheld_segments {
            self.trace.object(format_args!("{id}: {withheld} are held back, {} counted", stream.withheld_segments));
        }
        if failed as u64 != stream.failed_segments {
            self.trace.object(format_args!("{id}: {failed} gaps, {} are counted", stream.failed_segments));
        }
        for (segment, kept) in segments.iter().zip(&kept[forgotten..]) {
            if segment.seq >= first {
                self.compare_media(segment).await;
            }
            let seq = segment.seq;
            if segment.hold.as_ref().map(|hold| hold.state) != holds.get(&seq).copied() {
                let (is, was) = (&segment.hold, holds.get(&seq));
                self.trace.object(format_args!("{id} {seq}: is {is:?}, and it was {was:?}"));
            }
            let is_ours = segment.video.as_ref().is_some_and(|video| video.segment == kept.video);
            if !is_ours || segment.state != kept.state {
                self.trace.object(format_args!("{id} {seq}: is not what was committed"));
            }
            let taint = kept.source.taint();
            match &segment.state {
                // What can be read, someone may have made something right of.
                SegmentState::Ready if taint < Taint::Rubbish => {}
                SegmentState::Failed { reason } if !reason.is_empty() => {}
                state => self.trace.object(format_args!("{id} {seq}: {taint:?}, ended as {state:?}")),
            }
            let task: Option<Task> = match format!("{id}-{seq}-transcode").parse() {
                Ok(task) => self.truth.task(&task).await.expect("the store works"),
                Err(_) => None,
            };
            let fits = match task.as_ref().map(|task| &task.state) {
                Some(State::Accepted { .. }) => segment.state == SegmentState::Ready,
                Some(State::Failed { .. }) => segment.state != SegmentState::Ready,
                _ => false,
            };
            if !fits {
                self.trace.object(format_args!("{id} {seq}: {:?} with task {task:?}", segment.state));
            }
        }
    }

    /// All that players may ask for is there.
    async fn compare_media(&self, segment: &Segment) {
        for track in segment.renditions.iter().chain(&segment.video).chain(&segment.audio) {
            for blob in [track.init, track.segment] {
                if self.watch.bytes(&segment.stream, blob).await.is_none() {
                    let (id, seq) = (&segment.stream, segment.seq);
                    self.trace.object(format_args!("{id} {seq}: bytes of {} are gone", track.name));
                }
            }
        }
    }

    /// Every frame that was acknowledged is there, once, in order, and none that was not sent.
    fn compare_publisher(&self, at: usize) {
        let publisher = &self.publishers[at];
        let id = &publisher.id;
        let frames: Vec<Frame> = self.watch.book(id, |book| {
            book.segments.iter().flat_map(|kept| kept.source.frames.iter().map(|(_, frame)| *frame)).collect()
        });
        let mut next = (0, 0);
        for frame in &frames {
            if frame.connection > next.0 {
                next = (frame.connection, 0);
            }
            if (frame.connection, frame.number) != next {
                let is = (frame.connection, frame.number);
                return self.trace.object(format_args!("{id}: frame {is:?} stands where {next:?} was to come"));
            }
            next.1 += 1;
        }
        let count = |connection| frames.iter().filter(|frame| frame.connection == connection).count() as u32;
        for (&connection, &acknowledged) in &publisher.acknowledged {
            if count(connection) < acknowledged {
                let stored = count(connection);
                self.trace.object(format_args!("{id}: {acknowledged} frames acknowledged, {stored} stored"));
            }
        }
        if !publisher.plan.live && count(0) != publisher.plan.connections[0].frames {
            let (is, was) = (count(0), publisher.plan.connections[0].frames);
            self.trace.object(format_args!("{id}: {is} of the recording's {was} frames are stored"));
        }
    }

    async fn compare_player(&mut self, id: &StreamId) {
        if let Some(Effect::Shown(id, texts)) = playlists(&self.truth, id).await {
            let holds = self.watch.book(&id, Book::holds);
            self.player.fetched(&id, &texts, &holds, &self.trace);
        }
        let stream = self.truth.stream(id).await.ok().flatten().expect("the store works");
        for variant in &stream.variants {
            let Some((first, count, _, ended)) = self.player.seen(id, &variant.name) else {
                self.trace.object(format_args!("{id}: {} has no playlist", variant.name));
                continue;
            };
            if first + count as u64 != stream.next_seq || !ended {
                self.trace.object(format_args!("{id}: {} ends at {}", variant.name, first + count as u64));
            }
        }
    }
}
