//! Sound that comes in a playlist of its own: which of its segments lie beside one of the video's, and fetching them.
//!
//! Playlists of one stream need not be cut alike, nor number their segments alike. What lies beside is chosen with room
//! on both sides; which packets belong is told by their times, once they are read (`push/blend.rs`).

use std::{
    collections::VecDeque,
    ops::Range,
    path::PathBuf,
    time::{Duration, Instant},
};

use reqwest::Url;
use tempfile::TempDir;

use super::{
    Stop, hls,
    part::{self, Parts},
    playlist::{Media, Segment},
};
use crate::{house::House, ingest::fetch::Kind};

/// Recordings tell times from their start; what they round adds up to less than this.
const ROUNDED_MS: u64 = 1_000;

/// Segments of sound that lie beside one of the video's at most.
const BESIDE_MAX: usize = 32;

/// Segments of sound that are kept, since they may lie beside the next segment too.
const KEPT_MAX: usize = BESIDE_MAX;

/// Between two looks at a playlist of sound that does not reach far enough.
const RELOAD: Duration = Duration::from_millis(500);

/// Sound on its way.
pub(super) struct Sounds {
    url: Url,
    live: bool,
    /// As it was when it was loaded last.
    list: Option<Media>,
    parts: Parts,
    kept: VecDeque<(u64, TempDir, u64)>,
}

impl Sounds {
    pub(super) fn new(url: Url, live: bool, parts: Parts) -> Self {
        Self { url, live, list: None, parts, kept: VecDeque::new() }
    }

    /// The files that lie beside segment `at` of the video. What can't be had within `limit` is left out.
    pub(super) async fn beside(
        &mut self,
        house: &House,
        video: &Media,
        at: usize,
        limit: Duration,
    ) -> Result<Vec<(PathBuf, u64)>, Stop> {
        self.reach(house, video, at, limit).await?;
        let Some(list) = &self.list else { return Ok(Vec::new()) };
        let wanted: Vec<Segment> = list.segments[beside(video, at, list, self.live)].to_vec();
        let mut files = Vec::new();
        for segment in wanted.iter().filter(|segment| !segment.gap) {
            files.extend(self.file(house, segment, limit).await?);
        }
        while self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        Ok(files)
    }

    /// Loads the playlist until it reaches the end of segment `at` of the video, or for as long as is waited for it.
    async fn reach(&mut self, house: &House, video: &Media, at: usize, limit: Duration) -> Result<(), Stop> {
        let began = Instant::now();
        // Which part of a broadcast is known is of no use for another part of it.
        if self.live {
            self.list = None;
        }
        loop {
            if self.list.as_ref().is_some_and(|list| list.ended || reaches(video, at, list, self.live)) {
                return Ok(());
            }
            let late = began.elapsed() >= limit;
            match hls::load_media(house, &self.url).await {
                Ok(list) => self.list = Some(list),
                Err(failure) if !self.live && (late || !matches!(failure.kind, Kind::Later(_))) => {
                    return Err(Stop::Failed(format!("its sound can't be had: {failure}")));
                }
                Err(failure) => tracing::debug!(why = failure.why, "a playlist of sound is loaded again"),
            }
            if late {
                return Ok(());
            }
            if self.list.as_ref().is_none_or(|list| !list.ended && !reaches(video, at, list, self.live)) {
                tokio::time::sleep(RELOAD).await;
            }
        }
    }

    async fn file(
        &mut self,
        house: &House,
        segment: &Segment,
        limit: Duration,
    ) -> Result<Option<(PathBuf, u64)>, Stop> {
        let later = |error: std::io::Error| Stop::Later(error.to_string());
        if !self.kept.iter().any(|(sequence, ..)| *sequence == segment.sequence) {
            let folder = tempfile::tempdir_in(house.scratch()).map_err(later)?;
            match self.parts.fetch(segment, &folder.path().join("sound"), limit).await {
                Ok(bytes) => self.kept.push_back((segment.sequence, folder, bytes)),
                Err(part::Error::Disk(error)) => return Err(later(error)),
                Err(error) => {
                    tracing::warn!(sequence = segment.sequence, why = %error, "a segment of sound can't be had");
                    return Ok(None);
                }
            }
        }
        let kept = self.kept.iter().find(|(sequence, ..)| *sequence == segment.sequence);
        Ok(kept.map(|(_, folder, bytes)| (folder.path().join("sound"), *bytes)))
    }
}

/// Whether a list of sound reaches the end of segment `at` of the video.
fn reaches(video: &Media, at: usize, sound: &Media, live: bool) -> bool {
    let (videos, sounds) = starts_ms(video, sound, live);
    let end_ms = videos.get(at + 1).copied().unwrap_or(i64::MAX);
    sounds.last().is_some_and(|sound_ms| *sound_ms >= end_ms)
}

/// Where the segments of both lists start, and the last ones end, on one clock.
///
/// Recordings start together. Of broadcasts, segments with the same number do, or else the newest end together.
fn starts_ms(video: &Media, sound: &Media, live: bool) -> (Vec<i64>, Vec<i64>) {
    let sums = |list: &Media| {
        let lengths = list.segments.iter().map(|segment| segment.duration_ms as i64);
        let mut sum = 0;
        std::iter::once(0)
            .chain(lengths.map(move |length| {
                sum += length;
                sum
            }))
            .collect::<Vec<i64>>()
    };
    let (videos, mut sounds) = (sums(video), sums(sound));
    if live {
        let first = |list: &Media| list.segments.first().map_or(0, |segment| segment.sequence);
        let common = first(video).max(first(sound));
        let at = |list: &Media| list.segments.iter().position(|segment| segment.sequence == common);
        let (video_ms, sound_ms) = match (at(video), at(sound)) {
            (Some(video_at), Some(sound_at)) => (videos[video_at], sounds[sound_at]),
            _ => (videos.last().copied().unwrap_or(0), sounds.last().copied().unwrap_or(0)),
        };
        for start_ms in &mut sounds {
            *start_ms += video_ms - sound_ms;
        }
    }
    (videos, sounds)
}

/// Which segments of sound may have packets that lie beside segment `at` of the video.
fn beside(video: &Media, at: usize, sound: &Media, live: bool) -> Range<usize> {
    let (videos, sounds) = starts_ms(video, sound, live);
    let count = sound.segments.len();
    let (Some(start_ms), Some(end_ms)) = (videos.get(at), videos.get(at + 1)) else { return 0..0 };
    let room_ms = if live { sound.target_ms.max(ROUNDED_MS) } else { ROUNDED_MS } as i64;
    let from = (0..count).find(|&at| sounds[at + 1] > start_ms - room_ms).unwrap_or(count);
    let to = (from..count).find(|&at| sounds[at] >= end_ms + room_ms).unwrap_or(count);
    from..to.min(from + BESIDE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{fetch::address, pull::playlist::Resource};

    fn list(first: u64, lengths_ms: &[u64], ended: bool) -> Media {
        let url = address::parse("https://example.org/1.ts").unwrap();
        let segment = |(at, duration_ms): (usize, &u64)| Segment {
            sequence: first + at as u64,
            media: Resource { url: url.clone(), span: None },
            duration_ms: *duration_ms,
            init: None,
            key: None,
            gap: false,
        };
        let target_ms = lengths_ms.iter().copied().max().unwrap_or(0);
        Media { target_ms, ended, segments: lengths_ms.iter().enumerate().map(segment).collect() }
    }

    #[test]
    fn sound_of_recordings_lies_beside_by_time_however_it_is_cut() {
        let (video, sound) = (list(0, &[6_000; 5], true), list(9, &[10_000; 3], true));
        let all: Vec<_> = (0..5).map(|at| beside(&video, at, &sound, false)).collect();
        assert_eq!(all, [0..1, 0..2, 1..2, 1..3, 2..3]);
        assert_eq!(beside(&video, 5, &sound, false), 0..0);
        assert_eq!(beside(&video, 0, &list(0, &[], true), false), 0..0);
    }

    #[test]
    fn sound_of_broadcasts_lies_beside_by_number_with_a_neighbour_on_each_side() {
        let (video, sound) = (list(100, &[2_000; 6], false), list(101, &[2_000; 6], false));
        assert_eq!(beside(&video, 3, &sound, true), 1..4);
        assert_eq!(beside(&video, 0, &sound, true), 0..1);
        // Counted otherwise: the newest end together.
        let other = list(7, &[2_000; 6], false);
        assert_eq!(beside(&video, 3, &other, true), 2..5);
        let short = list(101, &[2_000; 4], false);
        assert!(reaches(&video, 4, &short, true) && !reaches(&video, 5, &short, true));
    }
}
