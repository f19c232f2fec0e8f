//! Chunks as the crate's writer makes them, by hand, and at random.

use proptest::prelude::*;
use rtmp_rs::protocol::{ChunkEncoder, chunk::RtmpChunk};

use super::*;

/// Writes a message as the crate does, with chunks of `chunk_bytes`, each after the first without a header.
fn chunks(id: u32, timestamp_ms: u32, kind: u8, payload: &[u8], chunk_bytes: u32) -> BytesMut {
    let mut encoder = ChunkEncoder::new();
    encoder.set_chunk_size(chunk_bytes);
    let mut out = BytesMut::new();
    let payload = Bytes::copy_from_slice(payload);
    encoder
        .encode(&RtmpChunk { csid: id, timestamp: timestamp_ms, message_type: kind, stream_id: 1, payload }, &mut out);
    out
}

fn read_all(reader: &mut Reader, bytes: &[u8]) -> Result<Vec<Message>, Error> {
    let mut buffer = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.next(&mut buffer)? {
        messages.push(message);
    }
    Ok(messages)
}

fn times(bytes: &[u8]) -> Vec<u32> {
    let messages = read_all(&mut Reader::new(1 << 20), bytes).unwrap();
    messages.into_iter().map(|message| message.timestamp_ms).collect()
}

#[test]
fn messages_survive_any_chunking_and_any_delivery() {
    let payload: Vec<u8> = (0..200_000u32).map(|at| (at * 7) as u8).collect();
    for chunk_bytes in [1_u32, 128, 4_096, 65_536, 0xff_ffff] {
        let payload = if chunk_bytes == 1 { &payload[..1_000] } else { &payload };
        let mut bytes = chunks(2, 0, MSG_SET_CHUNK_SIZE, &chunk_bytes.to_be_bytes(), 128);
        bytes.extend_from_slice(&chunks(400, 5, 9, payload, chunk_bytes));
        bytes.extend_from_slice(&chunks(6, 6, 8, &[1, 2], chunk_bytes));
        for delivered_bytes in [1_usize, 1_000, 70_000, bytes.len()] {
            let mut reader = Reader::new(1 << 20);
            let mut buffer = BytesMut::new();
            let mut messages = Vec::new();
            for piece in bytes.chunks(delivered_bytes) {
                buffer.extend_from_slice(piece);
                while let Some(message) = reader.next(&mut buffer).unwrap() {
                    messages.push(message);
                }
                assert!(buffer.len() <= WHOLE_BYTES_MAX + 18, "{} bytes wait", buffer.len());
            }
            let [video, audio] = &messages[..] else { panic!("{} messages", messages.len()) };
            assert_eq!((video.kind, video.timestamp_ms, video.stream, &video.payload[..]), (9, 5, 1, payload));
            assert_eq!((audio.kind, audio.timestamp_ms, &audio.payload[..]), (8, 6, &[1, 2][..]));
            assert_eq!(reader.unfinished_bytes(), 0);
        }
    }
}

#[test]
fn chunks_of_two_messages_may_alternate() {
    let video = chunks(6, 40, 9, &[1; 300], 128);
    let audio = chunks(4, 30, 8, &[2; 200], 128);
    // Full headers are 12 bytes, the others 1.
    let bytes = [&video[..140], &audio[..140], &video[140..269], &audio[140..], &video[269..]].concat();
    let messages = read_all(&mut Reader::new(1 << 20), &bytes).unwrap();
    let read: Vec<_> =
        messages.iter().map(|message| (message.kind, message.timestamp_ms, message.payload.len())).collect();
    assert_eq!(read, [(8, 30, 200), (9, 40, 300)]);
    assert!(messages[0].payload.iter().all(|byte| *byte == 2) && messages[1].payload.iter().all(|byte| *byte == 1));
}

#[test]
fn headers_without_time_repeat_the_delta() {
    let full = [0x04, 0, 0, 10, 0, 0, 1, 9, 1, 0, 0, 0, 0xaa];
    let delta = [0x44, 0, 0, 40, 0, 0, 1, 9, 0xbb];
    let bare = [0xc4, 0xcc];
    assert_eq!(times(&[&full[..], &delta, &bare, &bare].concat()), [10, 50, 90, 130]);
    // After a full header its timestamp is the delta (section 5.3.1.2.4).
    assert_eq!(times(&[&full[..], &bare].concat()), [10, 20]);
    assert_eq!(times(&[&full[..], &[0x84, 0, 0, 7, 1], &bare].concat()), [10, 17, 24]);
}

#[test]
fn extended_timestamps_repeat_in_every_chunk_or_do_not() {
    let begin =
        [&[0x04, 0xff, 0xff, 0xff, 0, 0, 200, 9, 1, 0, 0, 0][..], &[0xff, 0xff, 0xff, 0xf0], &[1; 128]].concat();
    let with = [&[0xc4, 0xff, 0xff, 0xff, 0xf0][..], &[2; 72]].concat();
    let without = [&[0xc4][..], &[2; 72]].concat();
    // A delta that crosses 2^32.
    let next = [0x44, 0, 0, 0x20, 0, 0, 1, 9, 3];
    for rest in [with, without] {
        let bytes = [&begin[..], &rest, &next].concat();
        let messages = read_all(&mut Reader::new(1 << 20), &bytes).unwrap();
        assert_eq!(messages[0].timestamp_ms, 0xffff_fff0);
        assert_eq!(messages[0].payload[..], [&[1; 128][..], &[2; 72]].concat());
        assert_eq!(messages[1].timestamp_ms, 0x10);
    }
}

#[test]
fn an_aborted_message_makes_room_for_the_next() {
    let begun = &chunks(6, 0, 9, &[1; 300], 128)[..140];
    let abort = chunks(2, 0, MSG_ABORT, &6_u32.to_be_bytes(), 128);
    let next = chunks(6, 9, 9, &[3; 3], 128);
    let messages = read_all(&mut Reader::new(1 << 20), &[begun, &abort, &next].concat()).unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].payload[..], [3; 3]);
    let error = read_all(&mut Reader::new(1 << 20), &[begun, &next].concat());
    assert_eq!(error, Err(Error::Interrupted(6)));
}

#[test]
fn declared_sizes_cost_nothing_and_are_bounded() {
    let begin =
        |id: u8, bytes: u32| [&[id, 0, 0, 0][..], &bytes.to_be_bytes()[1..], &[9, 1, 0, 0, 0], &[0; 128]].concat();
    let mut reader = Reader::new(8 << 20);
    assert!(read_all(&mut reader, &[begin(3, 8 << 20), begin(4, 8 << 20)].concat()).unwrap().is_empty());
    assert!(reader.streams.iter().map(|stream| stream.part.capacity()).sum::<usize>() < 100_000);
    assert_eq!(read_all(&mut reader, &begin(5, 1_000)), Err(Error::TooMuchUnfinished(16 << 20)));
    let error = read_all(&mut Reader::new(8 << 20), &begin(3, (8 << 20) + 1));
    assert_eq!(error, Err(Error::TooLarge { bytes: (8 << 20) + 1, bytes_max: 8 << 20 }));
}

#[test]
fn many_chunk_streams_and_unknown_ones_are_refused() {
    let message = |id: u8| vec![id, 0, 0, 0, 0, 0, 1, 9, 1, 0, 0, 0, 7];
    let many: Vec<u8> = (2..2 + STREAMS_MAX as u8).flat_map(message).collect();
    let mut reader = Reader::new(1 << 20);
    assert_eq!(read_all(&mut reader, &many).unwrap().len(), STREAMS_MAX);
    assert_eq!(read_all(&mut reader, &message(60)), Err(Error::TooManyStreams));
    assert_eq!(read_all(&mut Reader::new(1 << 20), &[0xc9]), Err(Error::NoHeader(9)));
    let zero = chunks(2, 0, MSG_SET_CHUNK_SIZE, &[0; 4], 128);
    assert_eq!(read_all(&mut Reader::new(1 << 20), &zero), Err(Error::Control));
}

proptest! {
    #[test]
    fn no_bytes_panic_or_pile_up(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..8)) {
        let mut reader = Reader::new(1_000);
        let mut buffer = BytesMut::new();
        'pieces: for piece in pieces {
            buffer.extend_from_slice(&piece);
            loop {
                match reader.next(&mut buffer) {
                    Ok(Some(message)) => prop_assert!(message.payload.len() <= 1_000),
                    Ok(None) => break,
                    Err(_) => break 'pieces,
                }
            }
            prop_assert!(buffer.len() <= 1_018);
            prop_assert!(reader.unfinished_bytes() <= 2_000);
        }
    }
}
