//! Where events go that a stranger's bytes became: through the segmenter, into CMAF and back, as in `ingest/intake.rs`.

use crate::{
    ingest::event::Event,
    segment::{Cut, Limits, Part, Segmenter},
};

const LIMITS: Limits = Limits {
    segment_ms: 2_000,
    segment_ms_max: Some(3_000),
    keyframe_ms_max: 20_000,
    segment_bytes_max: 1 << 20,
    audio_lag_ms_max: 3_000,
};

/// A stream's events on their way.
pub(crate) struct Events {
    segmenter: Segmenter,
    /// Where the last segment ended on the timeline.
    end_ns: u64,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { segmenter: Segmenter::new(LIMITS, None), end_ns: 0 }
    }

    /// Takes the next event; false if it ends the stream.
    pub(crate) fn take(&mut self, event: Event) -> bool {
        let Ok(cuts) = self.segmenter.push(event) else { return false };
        self.cuts(&cuts)
    }

    /// The source is gone.
    pub(crate) fn finish(mut self) {
        let cuts = self.segmenter.finish();
        self.cuts(&cuts);
    }

    fn cuts(&mut self, cuts: &[Cut]) -> bool {
        cuts.iter().all(|cut| {
            assert_eq!(cut.start_ns, self.end_ns, "the timeline has no holes");
            self.end_ns = cut.start_ns + cut.duration_ns;
            [&cut.video, &cut.audio].into_iter().flatten().all(written)
        })
    }
}

/// Writes it as it is stored; whatever can be written can be read.
fn written(part: &Part) -> bool {
    let Ok(init) = millrace_cmaf::init(&part.track) else { return false };
    millrace_cmaf::read::header(&init).expect("a header that we wrote");
    let Ok(segment) = millrace_cmaf::segment(&part.track, 1, &part.samples, part.end) else { return false };
    let read = millrace_cmaf::read::fragment(&segment).expect("a segment that we wrote");
    assert_eq!(read.samples, part.samples.len());
    true
}
