//! Sends a case's media in, by its way, to its end.

use std::path::PathBuf;

use millrace_proto::api::Stream;

use super::{
    cases::{Case, Way},
    hls, media,
};
use crate::{
    clip::text,
    conformance::Follow,
    house::House,
    http_push::{pieces, put_all},
    push::{address, push_to},
    rtmp, rtmps,
    site::{Reply, Site},
    srt, url,
    wait::{s, until},
};

/// What is sent, and who looks at it meanwhile.
pub(super) struct Sent {
    pub(super) stream: Stream,
    pub(super) follow: Option<Follow>,
    /// Where it is fetched from.
    pub(super) site: Option<Site>,
}

/// Makes the stream of `case`, and sends everything that is pushed. What is fetched comes by itself from now on.
#[track_caller]
pub(super) fn send(house: &House, case: &Case, files: &[PathBuf]) -> Result<Sent, String> {
    let profile = (case.profile)();
    let follow = |stream: &Stream| case.way.is_live().then(|| Follow::start(&house.api, &stream.playback.hls));
    let fetched = |site: Site, url: &str| {
        let stream = url::fetch_as(house, url, &profile);
        Ok(Sent { follow: follow(&stream), stream, site: Some(site) })
    };
    match case.way {
        Way::File => {
            let stream = house.api.create("file", &profile);
            house.api.upload_all(&stream, &media::joined(files));
            Ok(Sent { stream, follow: None, site: None })
        }
        Way::Url => {
            let bytes = media::joined(files);
            let site = Site::open("127.0.0.1", move |ask| Reply::file(ask, &bytes, "\"same\""));
            let url = site.url("film?token=sesame");
            fetched(site, &url)
        }
        Way::Hls(packing) => {
            let (site, url) = hls::open(house, packing, files);
            fetched(site, &url)
        }
        Way::Rtmp | Way::Rtmps | Way::Tags(_) | Way::Enhanced | Way::Srt | Way::Segments => {
            let stream = house.api.create("live", &profile);
            let follow = follow(&stream);
            push(house, case, &stream, files)?;
            Ok(Sent { stream, follow, site: None })
        }
    }
}

#[track_caller]
fn push(house: &House, case: &Case, stream: &Stream, files: &[PathBuf]) -> Result<(), String> {
    match case.way {
        Way::Rtmp | Way::Rtmps | Way::Srt => {
            let name = format!("publisher-{}", stream.id);
            let copy = ["-i", text(&files[0]), "-c", "copy"];
            let mut publisher = match case.way {
                Way::Srt => srt::push_srt(house, stream, &files[0]),
                Way::Rtmps => push_to(house, &name, &rtmps::address(house, stream), &copy),
                _ => push_to(house, &name, &address(stream), &copy),
            };
            let status = publisher.wait(s(60));
            if !status.success() {
                return Err(format!("ffmpeg was turned away: {}", publisher.log()));
            }
        }
        Way::Tags(change) => rtmp::publish(stream, &change(tags(case, files))),
        Way::Enhanced => rtmp::publish(stream, &rtmp::enhanced(&files[0])),
        _ => {
            let pieces = pieces(house, &files[0], "mpegts", "ts", case.media.args);
            put_all(house, stream, &pieces, &(0..pieces.len()).collect::<Vec<_>>());
        }
    }
    // At once, when the publisher has hung up: nobody comes back.
    until("the end of the stream", s(30), || {
        let answer = house.api.call("POST", &format!("/v1/streams/{}/end", stream.id), None);
        assert!(matches!(answer.status, 200 | 409), "{}", answer.text());
        (answer.status == 200).then_some(())
    });
    Ok(())
}

/// The messages of all files, each behind the other.
#[track_caller]
fn tags(case: &Case, files: &[PathBuf]) -> Vec<rtmp::Tag> {
    let mut all = Vec::new();
    let mut at_ms = 0;
    for file in files {
        let mut tags = rtmp::tags(file);
        for tag in &mut tags {
            tag.time_ms += at_ms;
        }
        all.extend(tags);
        at_ms += case.media.seconds * 1_000;
    }
    all
}
