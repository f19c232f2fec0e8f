//! Playlists of many makes, and none at all.

use proptest::prelude::*;

use super::*;

fn base() -> Url {
    address::parse("https://example.org/a/list.m3u8?token=1").unwrap()
}

fn read(text: &str) -> Result<Playlist, Error> {
    parse(text.as_bytes(), &base(), 100)
}

fn media(text: &str) -> Media {
    match read(text) {
        Ok(Playlist::Media(media)) => media,
        other => panic!("{other:?}"),
    }
}

#[test]
fn segments_have_numbers_places_keys_and_headers() {
    let list = media(
        "#EXTM3U\r\n#EXT-X-VERSION:7\r\n#EXT-X-TARGETDURATION:6\r\n#EXT-X-MEDIA-SEQUENCE:17\r\n\
         #EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"100@0\"\r\n#EXTINF:5.5,a title, with commas\r\n#EXT-X-BYTERANGE:1000@100\r\n\
         all.mp4\r\n\r\n# a comment\r\n#EXTINF:6,\r\n#EXT-X-BYTERANGE:500\r\nall.mp4\r\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"/key?id=1,2\",IV=0x0A\r\n#EXT-X-MAP:URI=\"init2.mp4\"\r\n#EXTINF:4\r\n//cdn.test/3.mp4\r\n\
         #EXT-X-GAP\r\n#EXTINF:4\r\n4.mp4\r\n#EXT-X-KEY:METHOD=NONE\r\n#EXTINF:4\r\n5.mp4\r\n#EXT-X-ENDLIST\r\n",
    );
    assert_eq!((list.target_ms, list.ended, list.segments.len()), (6_000, true, 5));
    let [first, second, third, fourth, fifth] = &list.segments[..] else { panic!() };
    assert_eq!((first.sequence, first.duration_ms), (17, 5_500));
    assert_eq!(first.media.span, Some(Span { first: 100, bytes: 1_000 }));
    assert_eq!(second.media.span, Some(Span { first: 1_100, bytes: 500 }), "it follows on the one before");
    assert_eq!(first.init, second.init);
    assert_eq!(first.init.as_ref().unwrap().span, Some(Span { first: 0, bytes: 100 }));
    assert_eq!(third.media.url.as_str(), "https://cdn.test/3.mp4");
    let key = third.key.as_ref().unwrap();
    assert_eq!((key.url.as_str(), key.iv.unwrap()[15]), ("https://example.org/key?id=1,2", 10));
    assert!(third.init.as_ref().unwrap().url.as_str().ends_with("init2.mp4"));
    assert!(fourth.gap && fourth.key.is_some() && !fifth.gap && fifth.key.is_none());
}

#[test]
fn what_can_not_be_honoured_is_refused() {
    let list = |lines: &str| read(&format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{lines}\n#EXTINF:4,\n1.ts\n"));
    for (lines, word) in [
        ("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"", "SAMPLE-AES"),
        ("#EXT-X-KEY:METHOD=AES-128,URI=\"skd://k\",KEYFORMAT=\"com.apple.streamingkeydelivery\"", "com.apple"),
        ("#EXT-X-I-FRAMES-ONLY", "key frames"),
        ("#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"", "variables"),
        ("#EXTINF:1,\nfile:///etc/passwd", "no address"),
        ("#EXTINF:1,\nhttp://example.org/1.ts", "https to http"),
        ("1.ts", "line 3"),
        ("#EXTINF:x,", "line 3"),
        ("#EXTINF:-1,", "line 3"),
        ("#EXTINF:nan,", "line 3"),
        ("#EXT-X-MEDIA-SEQUENCE:99999999999999999999", "line 3"),
        ("#EXT-X-BYTERANGE:5\n#EXTINF:1,\n1.ts", "line 5"),
        ("#EXT-X-MAP:URI=init.mp4", "line 3"),
        ("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x", "line 3"),
    ] {
        let error = list(lines).expect_err(lines).to_string();
        assert!(error.contains(word), "{lines}: {error}");
    }
    // Another way to a key that we can take, before it or after it.
    let ours = "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"";
    let other = "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://k\",KEYFORMAT=\"com.other\"";
    assert!(list(&format!("{ours}\n{other}")).is_ok());
    assert!(list(&format!("{other}\n{ours}")).is_ok());
    let many = format!("#EXTM3U\n{}", "#EXTINF:1,\n1.ts\n".repeat(101));
    assert_eq!(read(&many), Err(Error::TooMany(100)));
    for none in ["", "#EXTM3", "#EXTM3U", "#EXTM3U\n# nothing\n", "<html>"] {
        assert_eq!(read(none), Err(Error::NoPlaylist), "{none:?}");
    }
}

#[test]
fn the_best_version_that_can_be_read_is_chosen_with_its_sound() {
    let text = "#EXTM3U\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"fr\",AUTOSELECT=YES,URI=\"fr.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"en\",DEFAULT=YES,AUTOSELECT=YES,URI=\"en.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"b\",NAME=\"en\",DEFAULT=YES\n\
        #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"en\",URI=\"s.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS=\"mp4a.40.2\"\nsound.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,AUDIO=\"b\"\nlow.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=3000,CODECS=\"hvc1.1.6.L93,mp4a.40.2\",AUDIO=\"a\"\nhigh.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=9000,CODECS=\"dvh1.05.06\",AUDIO=\"a\"\nvision.m3u8\n\
        #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=99000,URI=\"i.m3u8\"\n";
    let Ok(Playlist::Master(master)) = read(text) else { panic!() };
    assert_eq!(master.variants.len(), 4);
    let best = master.best().unwrap();
    assert_eq!(best.url.as_str(), "https://example.org/a/high.m3u8");
    assert_eq!(master.sound(best).unwrap().as_str(), "https://example.org/a/en.m3u8");
    assert_eq!(master.sound(&master.variants[1]), None, "it is in the video's segments");
    let Ok(Playlist::Master(bare)) = read("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n1.m3u8\n") else { panic!() };
    assert!(bare.best().is_some(), "nobody said that it can't be read");
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(lines in prop::collection::vec(any_line(), 0..40)) {
        let text = format!("#EXTM3U\n{}", lines.join("\n"));
        if let Ok(Playlist::Media(media)) = read(&text) {
            prop_assert!(media.segments.len() <= 100);
            prop_assert!(media.segments.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
        }
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&[b"#EXTM3U\n", &bytes[..]].concat(), &base(), 100);
    }
}

fn any_line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "EXTINF:",
        "EXT-X-KEY:",
        "EXT-X-MAP:",
        "EXT-X-BYTERANGE:",
        "EXT-X-MEDIA-SEQUENCE:",
        "EXT-X-TARGETDURATION:",
        "EXT-X-STREAM-INF:",
        "EXT-X-MEDIA:",
        "EXT-X-GAP",
        "EXT-X-ENDLIST",
        "EXT-X-PLAYLIST-TYPE:VOD",
        "",
    ]);
    let value = prop_oneof![
        "[0-9]{1,20}(@[0-9]{1,20})?",
        "-?[0-9a-zA-Z.]{0,8},?.{0,8}",
        "METHOD=(NONE|AES-128|SAMPLE-AES),URI=\"[^\"]{0,9}\"(,IV=0x[0-9a-f]{0,34})?",
        "(TYPE=AUDIO,)?(GROUP-ID|URI|BYTERANGE|CODECS)=\"?[^\"]{0,9}\"?",
        ".{0,20}",
    ];
    prop_oneof![
        (name, value.clone()).prop_map(|(name, value)| format!("#{name}{value}")),
        value,
        Just("1.ts".to_owned()),
    ]
}
