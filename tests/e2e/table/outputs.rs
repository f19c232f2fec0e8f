//! The page of what comes out, and in which players it plays: what its rows are, and who tells which is in the tests that
//! see it. A row is known by its first two cells, so that tests of live streams and of recordings each tell their own.

use super::Page;

/// What a reader gets out of a stream.
pub(crate) const OUTPUTS: Page = Page {
    path: "docs/outputs.md",
    head: "# What comes out\n\nEach row is something that the end-to-end tests fetched from real streams, decoded or \
           played, and what they found.\nThe tests write these tables. *To its end* is without an error, and at least half of a live stream that the \
           player came to late, or\nall of a recording but a second. A dash is what they do not try: \
           [apps.md](apps.md) says what is promised.\n",
    sections: &["Outputs", "Players", "How it is served"],
};

/// A section whose rows several tests tell.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
    /// The first two cells of each row, in order.
    pub(super) keys: &'static [[&'static str; 2]],
}

pub(crate) const OUT: Shared = Shared {
    name: "Outputs",
    columns: &["what", "of", "what was found"],
    keys: &[
        ["HLS playlists", LIVE],
        ["HLS playlists", RECORDED],
        ["DASH manifest", LIVE],
        ["DASH manifest", RECORDED],
        ["I-frame playlists", LIVE],
        ["I-frame playlists", RECORDED],
        ["MP4 of a rung", LIVE],
        ["MP4 of a rung", RECORDED],
        ["MP4 of the source", RECORDED],
        ["poster", LIVE],
        ["poster", RECORDED],
        ["sprites and WebVTT", LIVE],
        ["sprites and WebVTT", RECORDED],
        ["clip", LIVE],
        ["clip", RECORDED],
        ["seeking back", LIVE],
        ["retention", LIVE],
        ["retention", RECORDED],
        ["aes-128", LIVE],
        ["aes-128", RECORDED],
        ["cbcs", RECORDED],
        ["playback token", LIVE],
    ],
};

pub(crate) const PLAYERS: Shared = Shared {
    name: "Players",
    columns: &["what", "of", "ffmpeg", "ffplay", "GStreamer", "VLC", "hls.js", "dash.js", "Shaka Player"],
    keys: &[
        ["HLS", LIVE],
        ["HLS", RECORDED],
        ["DASH", LIVE],
        ["DASH", RECORDED],
        ["aes-128 by HLS", LIVE],
        ["aes-128 by HLS", RECORDED],
        ["cbcs by HLS", LIVE],
        ["cbcs by HLS", RECORDED],
        ["cbcs by DASH", LIVE],
        ["cbcs by DASH", RECORDED],
        ["captions by DASH", LIVE],
        ["captions by DASH", RECORDED],
    ],
};

pub(crate) const SERVED: Shared = Shared {
    name: "How it is served",
    columns: &["what", "of", "Content-Type", "Cache-Control", "gzip", "ranges", "ETag", "HEAD", "CORS"],
    keys: &[
        ["multivariant playlist", LIVE],
        ["multivariant playlist", RECORDED],
        ["media playlist", LIVE],
        ["media playlist", RECORDED],
        ["DASH manifest", LIVE],
        ["DASH manifest", RECORDED],
        ["header", LIVE],
        ["segment", LIVE],
        ["header of sound", LIVE],
        ["segment of sound", LIVE],
    ],
};

/// All of them.
pub(super) const SHARED: &[Shared] = &[OUT, PLAYERS, SERVED];

/// What is said of a player that came to the end of a stream by itself, without an error, and showed at least half of a
/// live one, which it came to late, or all of a recording but a second.
pub(crate) const PLAYED: &str = "to its end";

pub(crate) const LIVE: &str = "live";
pub(crate) const RECORDED: &str = "recorded";

/// Tells rows of what comes out: what it is, of what, and what was found.
#[track_caller]
pub(crate) fn tell(rows: &[(&str, &str, String)]) {
    let rows = rows.iter().map(|(what, of, found)| vec![(*what).into(), (*of).into(), found.clone()]);
    OUTPUTS.tell_rows(&OUT, &rows.collect::<Vec<_>>());
}

/// Tells in which players `what` plays; those that were not tried have a dash.
#[track_caller]
pub(crate) fn tell_played(what: &str, of: &str, played: &[(&str, String)]) {
    let row = PLAYERS.columns.iter().enumerate().map(|(at, column)| match at {
        0 => what.to_owned(),
        1 => of.to_owned(),
        _ => played.iter().find(|(player, _)| player == column).map_or_else(|| "–".into(), |(_, how)| how.clone()),
    });
    OUTPUTS.tell_rows(&PLAYERS, &[row.collect()]);
}
