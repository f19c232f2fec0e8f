//! Commands as publishers send them, in order, out of order, and at random.

use proptest::prelude::*;
use rtmp_rs::amf::amf0;

use super::*;
use crate::ingest::rtmp::chunk::Reader;

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn command(values: &[Value]) -> Message {
    Message { kind: rtmp::MSG_COMMAND_AMF0, timestamp_ms: 0, stream: 0, payload: amf0::encode_all(values) }
}

fn connect(app: &str) -> Message {
    let object = Value::Object(HashMap::from([("app".to_owned(), text(app))]));
    command(&[text("connect"), Value::Number(1.0), object])
}

fn publish(name: &str) -> Message {
    command(&[text("publish"), Value::Number(5.0), Value::Null, text(name), text("live")])
}

/// The commands among what was written: name, transaction, and code of the information object.
fn answers(session: &mut Session, reader: &mut Reader) -> Vec<(String, f64, String)> {
    let mut out = session.take_out();
    let mut answers = Vec::new();
    while let Some(message) = reader.next(&mut out).unwrap() {
        if message.kind == rtmp::MSG_COMMAND_AMF0 {
            let (values, read) = amf::read(&message.payload);
            read.unwrap();
            let code = values.last().and_then(|info| info.get_string("code")).unwrap_or_default();
            answers.push((values[0].as_str().unwrap().to_owned(), values[1].as_number().unwrap(), code.to_owned()));
        }
    }
    assert!(out.is_empty());
    answers
}

/// A session, and what its peer reads with.
fn connected() -> (Session, Reader) {
    let (mut session, mut reader) = (Session::new(), Reader::new(1 << 16));
    assert_eq!(session.take(connect("live")).unwrap(), None);
    let code = "NetConnection.Connect.Success".to_owned();
    assert_eq!(answers(&mut session, &mut reader), [("_result".to_owned(), 1.0, code)]);
    (session, reader)
}

#[test]
fn the_way_of_obs() {
    let (mut session, mut reader) = connected();
    for name in ["releaseStream", "FCPublish"] {
        assert_eq!(session.take(command(&[text(name), Value::Number(2.0), Value::Null, text("k")])).unwrap(), None);
    }
    assert_eq!(session.take(command(&[text("createStream"), Value::Number(4.0), Value::Null])).unwrap(), None);
    assert_eq!(session.take(publish("key?a=b")).unwrap(), Some(Step::Publish("key".to_owned())));
    session.accept();
    let names: Vec<_> = answers(&mut session, &mut reader).into_iter().map(|(name, _, _)| name).collect();
    assert_eq!(names, ["_result", "onFCPublish", "_result", "onStatus"]);

    let fields = Value::EcmaArray(HashMap::from([("videocodecid".to_owned(), Value::Number(7.0))]));
    let payload = amf0::encode_all(&[text("@setDataFrame"), text("onMetaData"), fields.clone()]);
    let data = Message { kind: rtmp::MSG_DATA_AMF0, timestamp_ms: 0, stream: 1, payload };
    assert_eq!(session.take(data).unwrap(), Some(Step::Metadata(fields)));
    let video = Message { kind: rtmp::MSG_VIDEO, timestamp_ms: 7, stream: 1, payload: Bytes::from_static(&[1]) };
    assert_eq!(session.take(video.clone()).unwrap(), Some(Step::Video(7, Bytes::from_static(&[1]))));

    let goodbye = command(&[text("FCUnpublish"), Value::Number(6.0), Value::Null, text("key")]);
    assert_eq!(session.take(goodbye).unwrap(), Some(Step::Goodbye));
    let delete = command(&[text("deleteStream"), Value::Number(7.0), Value::Null, Value::Number(1.0)]);
    assert_eq!(session.take(delete).unwrap(), None, "one goodbye is enough");
    assert_eq!(session.take(video).unwrap(), None, "media after the goodbye");
}

#[test]
fn what_is_not_taken_is_told() {
    let mut session = Session::new();
    assert!(matches!(session.take(connect("vod")), Err(Error::Command(_))));
    assert_eq!(answers(&mut session, &mut Reader::new(1 << 16))[0].2, "NetConnection.Connect.Rejected");

    let (mut session, mut reader) = connected();
    let play = command(&[text("play"), Value::Number(0.0), Value::Null, text("key")]);
    assert!(matches!(session.take(play), Err(Error::Command(_))));
    assert_eq!(answers(&mut session, &mut reader)[0].2, "NetStream.Play.Failed");

    for (error, code) in [
        (Error::Refused(Refusal::WrongKey), "NetStream.Publish.Unauthorized"),
        (Error::Refused(Refusal::Busy), "NetStream.Publish.BadName"),
        (Error::Closed, "NetStream.Failed"),
    ] {
        let (mut session, mut reader) = connected();
        session.take(publish("key")).unwrap();
        session.refuse(&error);
        assert_eq!(answers(&mut session, &mut reader), [("onStatus".to_owned(), 0.0, code.to_owned())]);
    }
}

#[test]
fn the_order_of_commands_is_kept() {
    assert!(matches!(Session::new().take(publish("key")), Err(Error::Protocol(_))));
    let (mut session, _) = connected();
    assert!(matches!(session.take(connect("live")), Err(Error::Protocol(_))));
    session.take(publish("key")).unwrap();
    assert!(matches!(session.take(publish("key")), Err(Error::Protocol(_))));
    for name in ["", "?token=1", &"k".repeat(KEY_BYTES_MAX + 1)] {
        assert!(matches!(connected().0.take(publish(name)), Err(Error::Refused(Refusal::WrongKey))), "{name:?}");
    }
    let broken = Message { payload: Bytes::from_static(&[2, 0, 9, b'x']), ..publish("key") };
    assert!(matches!(connected().0.take(broken), Err(Error::Protocol(_))));
}

#[test]
fn applications_may_come_with_slashes_and_queries() {
    for app in ["live", "live/", "/live", "live?token=1"] {
        Session::new().take(connect(app)).unwrap();
    }
    for app in ["", "live/extra", "Live"] {
        assert!(Session::new().take(connect(app)).is_err(), "{app}");
    }
}

#[test]
fn pings_are_answered_and_windows_obeyed() {
    let (mut session, mut reader) = connected();
    let control = |kind, payload: &'static [u8]| {
        let payload = Bytes::from_static(payload);
        Message { kind, timestamp_ms: 0, stream: 0, payload }
    };
    session.take(control(rtmp::MSG_USER_CONTROL, &[0, 6, 1, 2, 3, 4])).unwrap();
    let message = reader.next(&mut session.take_out()).unwrap().unwrap();
    assert_eq!((message.kind, &message.payload[..]), (rtmp::MSG_USER_CONTROL, &[0, 7, 1, 2, 3, 4][..]));
    session.take(control(rtmp::MSG_WINDOW_ACK_SIZE, &[0, 0, 1, 0])).unwrap();
    assert_eq!(session.window_bytes(), 256);
    session.acknowledge((1 << 32) + 5);
    let message = reader.next(&mut session.take_out()).unwrap().unwrap();
    assert_eq!((message.kind, &message.payload[..]), (rtmp::MSG_ACKNOWLEDGEMENT, &[0, 0, 0, 5][..]));
}

proptest! {
    #[test]
    fn no_messages_panic(
        messages in proptest::collection::vec((any::<u8>(), 0..6_usize, proptest::collection::vec(any::<u8>(), 0..60)), 0..20)
    ) {
        let mut session = Session::new();
        for (kind, which, bytes) in messages {
            let raw = Message { kind: kind % 23, timestamp_ms: 0, stream: 0, payload: bytes.clone().into() };
            let name = ["closeStream", "play", "createStream"][usize::from(kind) % 3];
            let message = match which {
                0 => connect("live"),
                1 => publish("key"),
                2 => Message { payload: [&amf0::encode_all(&[text(name)])[..], &bytes].concat().into(), ..publish("") },
                _ => raw,
            };
            if let Ok(Some(Step::Publish(_))) = session.take(message) {
                session.accept();
            }
            prop_assert!(session.take_out().len() < 2_000);
        }
    }
}
