//! The follow job: a transport stream on standard input, for as long as it lives, its best video and audio track out as
//! samples as soon as they are whole.
//!
//! What is damaged on the way is left out by FFmpeg: an access unit with a hole in it never comes here. A stream that
//! gets other tracks (a new program, late sound, another codec) is looked at anew from there on.

mod unwrap;

use std::{
    collections::HashSet,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use ffmpeg_next::{Packet, Stream, codec::Id, format::context::Input, media};
use millrace_media::{Failure, job::Follow};

use crate::{
    answers::Answers,
    av,
    demux::{self, Tracks},
    trouble,
};
use unwrap::Unwrap;

/// Bytes handed to FFmpeg at once: what it has read ahead is lost when the stream is looked at anew.
const READ_BYTES: usize = 64 * 188;

/// Where a picture is announced and none was found, it is looked for so much longer, in media microseconds: sources
/// with a key frame every ten seconds may be joined in between.
const LONG_LOOK_US: u32 = 11_000_000;

/// Packets that wait for the first AAC frame, which tells what the track is.
const WAITING_PACKETS_MAX: usize = 500;

/// A track that was silent for so long, in ticks of 90 kHz, has been replaced by one that is not.
const REPLACED_TICKS: i64 = 90_000;

/// Runs the job.
pub(crate) fn run(job: &Follow, answers: &mut Answers) -> Result<(), Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    let first_look_us = job.look_ms_max.saturating_mul(1_000);
    let mut look_us = first_look_us;
    let (mut unwrap, mut mute) = (Unwrap::default(), HashSet::new());
    let (mut samples, mut heard) = (0, None);
    loop {
        let opened = open(&ended, look_us);
        let mut input = match opened {
            Err(_) if ended.load(Relaxed) && samples > 0 => return Ok(()),
            opened => opened?,
        };
        let video = demux::best_video(&input).filter(is_understood);
        let missed = video.is_none() && input.streams().any(|stream| medium(&stream) == media::Type::Video);
        if missed && look_us < LONG_LOOK_US && !ended.load(Relaxed) {
            look_us = LONG_LOOK_US;
            continue;
        }
        let audio = demux::best_audio(&input);
        if audio.is_none() {
            // It was looked for because of this one, and in vain.
            mute.extend(heard.take());
        }
        let tracks = Tracks::of(video.as_ref(), audio.as_ref())?;
        let mut run = Run::new(&input, tracks, &mut unwrap, &mute);
        let outcome = run.run(&mut input, answers)?;
        samples += run.tracks.samples;
        match outcome {
            Outcome::Others(stream) => (look_us, heard) = (first_look_us, Some(stream)),
            Outcome::Ended if samples == 0 => {
                return Err(trouble::bad_input("not one frame of the stream can be read"));
            }
            Outcome::Ended => return Ok(()),
        }
    }
}

fn open(ended: &Arc<AtomicBool>, look_us: u32) -> Result<Input, Failure> {
    let look_us = look_us.to_string();
    let options = [
        ("analyzeduration", look_us.as_str()),
        ("probesize", "5000000"),
        // The wraps are undone here: FFmpeg undoes one.
        ("correct_ts_overflow", "0"),
        ("fflags", "+discardcorrupt"),
        // Access units up to here come in one piece, so that a damaged one is left out as a whole.
        ("max_packet_size", "1048576"),
    ];
    av::input::open_stream(Pipe { ended: ended.clone() }, &options)
}

/// Standard input.
struct Pipe {
    ended: Arc<AtomicBool>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(READ_BYTES);
        let bytes = io::stdin().read(&mut buffer[..room])?;
        if bytes == 0 {
            self.ended.store(true, Relaxed);
        }
        Ok(bytes)
    }
}

/// Why a run came to its end.
enum Outcome {
    /// The stream has other tracks now; the stream of its own that told so, by its packet identifier.
    Others(i32),
    Ended,
}

/// One look's tracks, for as long as they stay.
struct Run<'a> {
    tracks: Tracks,
    /// What the codecs of video and audio were.
    codecs: [Option<Id>; 2],
    /// When video and audio last came.
    heard: [Option<i64>; 2],
    unwrap: &'a mut Unwrap,
    /// Streams of sound of which nothing could be found out.
    mute: &'a HashSet<i32>,
}

impl<'a> Run<'a> {
    fn new(input: &Input, tracks: Tracks, unwrap: &'a mut Unwrap, mute: &'a HashSet<i32>) -> Self {
        let codec = |at: usize| input.stream(at).map(|stream| stream.parameters().id());
        let codecs = tracks.streams().map(|stream| stream.and_then(codec));
        Self { tracks, codecs, heard: [None; 2], unwrap, mute }
    }

    fn run(&mut self, input: &mut Input, answers: &mut Answers) -> Result<Outcome, Failure> {
        let mut waiting = Vec::new();
        while !self.tracks.known() && waiting.len() < WAITING_PACKETS_MAX {
            let Some(packet) = self.next(input)? else { break };
            self.tracks.look_at(&packet);
            waiting.push(packet);
        }
        self.tracks.give_up_waiting(input)?;
        self.tracks.tell(answers);
        for packet in waiting {
            self.tracks.pass(&packet, answers)?;
        }
        while let Some(packet) = self.next(input)? {
            if self.is_another(input, &packet) {
                self.tracks.flush(answers)?;
                let stream = input.stream(packet.stream()).map_or(0, |stream| stream.id());
                return Ok(Outcome::Others(stream));
            }
            self.tracks.pass(&packet, answers)?;
        }
        self.tracks.flush(answers)?;
        Ok(Outcome::Ended)
    }

    /// The next packet, its times without wraps.
    fn next(&mut self, input: &mut Input) -> Result<Option<Packet>, Failure> {
        let Some(mut packet) = av::input::next_packet(input)? else { return Ok(None) };
        let chosen = self.tracks.streams().iter().position(|stream| *stream == Some(packet.stream()));
        if let Some(at) = chosen {
            let times = self.unwrap.times(packet.dts(), packet.pts());
            packet.set_dts(times.map(|(dts, _)| dts));
            packet.set_pts(times.map(|(_, pts)| pts));
            self.heard[at] = packet.dts().or(self.heard[at]);
        }
        Ok(Some(packet))
    }

    /// Whether the packet says that the stream has other tracks than those that were found.
    fn is_another(&self, input: &Input, packet: &Packet) -> bool {
        let Some(stream) = input.stream(packet.stream()) else { return false };
        let at = match medium(&stream) {
            media::Type::Video => 0,
            media::Type::Audio => 1,
            _ => return false,
        };
        match self.tracks.streams()[at] {
            Some(chosen) if chosen == packet.stream() => {
                Some(stream.parameters().id()) != self.codecs[at] || self.tracks.audio_is_another()
            }
            // Another one comes, and the chosen one has not for long.
            Some(_) => {
                let now = self.heard.iter().flatten().max();
                let silent = |now: &i64| self.heard[at].is_none_or(|heard| now - heard > REPLACED_TICKS);
                let dts = packet.dts().map(|dts| self.unwrap.near(dts));
                dts.or(now.copied()).is_some_and(|now| silent(&now))
            }
            None if at == 0 => packet.is_key(),
            None => !self.mute.contains(&stream.id()),
        }
    }
}

fn medium(stream: &Stream) -> media::Type {
    stream.parameters().medium()
}

/// Whether its pictures' size was found out.
fn is_understood(stream: &Stream) -> bool {
    let params = av::params::read(&stream.parameters());
    params.width > 0 && params.height > 0
}
