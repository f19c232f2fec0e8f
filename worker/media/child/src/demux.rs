//! The demux job: a whole file in, its best video and audio track out as samples, in the file's order.
//!
//! Video is copied as it is coded. Audio is copied if it is AAC and encoded continuously otherwise. What is done with the
//! packets of the two serves the follow job too.

mod audio;
mod clock;
mod convert;
mod packed;
mod video;

use std::fs::File;

use ffmpeg_next::{Packet, Rescale, Stream, format::context::Input, format::stream::Disposition, media};
use millrace_media::{Failure, job::Demux, wire::Message};

use crate::{answers::Answers, av, trouble};

/// FFmpeg's names of MP4 and MOV, MKV and WebM, TS, FLV. Nothing that can name other files is among them, nor among
/// [`packed::FORMATS`].
const FORMATS: &str = "mov,matroska,mpegts,flv";

/// FFmpeg looks at so much of a file, in bytes and in microseconds of media, to tell what its streams are.
/// Its own default misses late audio in transport streams.
const OPTIONS: [(&str, &str); 3] = [("probesize", "5000000"), ("analyzeduration", "10000000"), ("fflags", "+genpts")];

/// The tracks are told first; packets that come before all is known of them wait, at most so many.
const WAITING_PACKETS_MAX: usize = 2_000;

/// So many tracks are named at most that are passed over.
const IGNORED_TOLD_MAX: usize = 16;

/// Runs the job.
pub(crate) fn run(job: &Demux, answers: &mut Answers) -> Result<(), Failure> {
    let unread = |error: std::io::Error| trouble::file("open", &job.input, &error);
    let mut file = File::open(&job.input).map_err(unread)?;
    let start = packed::start(&mut file).map_err(unread)?;
    let formats = format!("{FORMATS},{}", packed::FORMATS.join(","));
    let mut input = av::input::open(file, &formats, &OPTIONS)?;
    let start = start.filter(|_| packed::FORMATS.contains(&input.format().name())).unwrap_or(0);
    let mut tracks = Tracks::choose(&input)?;
    tracks.tell_ignored(&input, answers);
    let mut waiting = Vec::new();
    while !tracks.known() && waiting.len() < WAITING_PACKETS_MAX {
        let Some(packet) = next_packet(&mut input, start)? else { break };
        tracks.look_at(&packet);
        waiting.push(packet);
    }
    tracks.give_up_waiting(&input)?;
    tracks.tell(answers);
    for packet in waiting {
        tracks.pass(&packet, answers)?;
    }
    while let Some(packet) = next_packet(&mut input, start)? {
        tracks.pass(&packet, answers)?;
    }
    tracks.end(answers)
}

/// The next packet, `start` ticks of [`packed::TIMESCALE`] later than it says.
fn next_packet(input: &mut Input, start: i64) -> Result<Option<Packet>, Failure> {
    let Some(mut packet) = av::input::next_packet(input)? else { return Ok(None) };
    if start != 0
        && let Some(stream) = input.stream(packet.stream())
    {
        let late = start.rescale((1, packed::TIMESCALE), stream.time_base());
        packet.set_pts(packet.pts().map(|pts| pts.saturating_add(late)));
        packet.set_dts(packet.dts().map(|dts| dts.saturating_add(late)));
    }
    Ok(Some(packet))
}

/// The chosen streams.
pub(crate) struct Tracks {
    /// Samples passed on.
    pub(crate) samples: u64,
    video: Option<video::Video>,
    audio: Option<audio::Audio>,
}

impl Tracks {
    fn choose(input: &Input) -> Result<Self, Failure> {
        Self::of(best_video(input).as_ref(), best_audio(input).as_ref())
    }

    /// Of the streams, which are understood.
    pub(crate) fn of(video: Option<&Stream>, audio: Option<&Stream>) -> Result<Self, Failure> {
        let video = video.map(video::Video::open).transpose()?;
        let audio = audio.map(audio::Audio::open).transpose()?;
        if video.is_none() && audio.is_none() {
            return Err(trouble::bad_input("the file has no video and no audio"));
        }
        Ok(Self { samples: 0, video, audio })
    }

    /// Says which tracks are passed over: other languages, subtitles, data, cover pictures.
    fn tell_ignored(&self, input: &Input, answers: &mut Answers) {
        let chosen = [self.video.as_ref().map(|video| video.stream), self.audio.as_ref().map(|audio| audio.stream)];
        let ignored = input.streams().filter(|stream| !chosen.contains(&Some(stream.index())));
        let named = |stream: Stream| {
            let kind = match stream.parameters().medium() {
                media::Type::Video => "video",
                media::Type::Audio => "audio",
                media::Type::Subtitle => "subtitles",
                _ => "data",
            };
            format!("{kind} ({})", stream.parameters().id().name())
        };
        let told: Vec<_> = ignored.map(named).take(IGNORED_TOLD_MAX).collect();
        if !told.is_empty() {
            answers.say(Message::Ignored(told));
        }
    }

    pub(crate) fn known(&self) -> bool {
        self.audio.as_ref().is_none_or(|audio| audio.track().is_some())
    }

    pub(crate) fn look_at(&mut self, packet: &Packet) {
        if let Some(audio) = self.audio.as_mut().filter(|audio| audio.stream == packet.stream()) {
            audio.look_at(packet);
        }
    }

    pub(crate) fn give_up_waiting(&mut self, input: &Input) -> Result<(), Failure> {
        let Some(audio) = &mut self.audio else { return Ok(()) };
        input.stream(audio.stream).map_or(Ok(()), |stream| audio.give_up_waiting(&stream))
    }

    pub(crate) fn tell(&self, answers: &mut Answers) {
        let video = self.video.as_ref().map(|video| video.track().clone());
        let audio = self.audio.as_ref().and_then(|audio| audio.track().cloned());
        answers.say(Message::Tracks { video, audio });
    }

    pub(crate) fn pass(&mut self, packet: &Packet, answers: &mut Answers) -> Result<(), Failure> {
        if let Some(video) = self.video.as_mut().filter(|video| video.stream == packet.stream()) {
            if video.changes(packet)? {
                self.tell(answers);
            }
            if let Some(sample) = self.video.as_mut().and_then(|video| video.sample(packet)) {
                self.samples += 1;
                answers.video(sample);
            }
        } else if let Some(audio) = self.audio.as_mut().filter(|audio| audio.stream == packet.stream()) {
            let samples = &mut self.samples;
            audio.samples(Some(packet), |sample| {
                *samples += 1;
                answers.audio(sample);
            })?;
        }
        Ok(())
    }

    /// The numbers of the streams of video and audio.
    pub(crate) fn streams(&self) -> [Option<usize>; 2] {
        [self.video.as_ref().map(|video| video.stream), self.audio.as_ref().map(|audio| audio.stream)]
    }

    /// The audio's frames have long been of another kind than its track.
    pub(crate) fn audio_is_another(&self) -> bool {
        self.audio.as_ref().is_some_and(audio::Audio::is_another)
    }

    /// Passes on what the audio's encoder still holds.
    pub(crate) fn flush(&mut self, answers: &mut Answers) -> Result<(), Failure> {
        let Some(audio) = &mut self.audio else { return Ok(()) };
        audio.samples(None, |sample| answers.audio(sample))
    }

    fn end(&mut self, answers: &mut Answers) -> Result<(), Failure> {
        self.flush(answers)?;
        if self.samples == 0 { Err(trouble::bad_input("not one frame of the file can be read")) } else { Ok(()) }
    }
}

/// The default video stream, or the one with most pixels; never a cover picture.
pub(crate) fn best_video(input: &Input) -> Option<Stream<'_>> {
    let videos = input.streams().filter(|stream| {
        stream.parameters().medium() == media::Type::Video && !stream.disposition().contains(Disposition::ATTACHED_PIC)
    });
    videos.max_by_key(|stream| {
        let params = av::params::read(&stream.parameters());
        let pixels = u64::from(params.width) * u64::from(params.height);
        (stream.disposition().contains(Disposition::DEFAULT) && pixels > 0, pixels, std::cmp::Reverse(stream.index()))
    })
}

/// The audio stream that FFmpeg finds best, if enough is known of it.
pub(crate) fn best_audio(input: &Input) -> Option<Stream<'_>> {
    let sounds = |stream: &Stream| av::params::read(&stream.parameters()).sample_rate > 0;
    input.streams().best(media::Type::Audio).filter(sounds)
}
