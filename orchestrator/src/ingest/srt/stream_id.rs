//! The stream key in an SRT stream id: the key alone, `publish:KEY`, `publish/KEY`, or the access-control form
//! `#!::r=KEY,m=publish` (SRT Access Control Guidelines). Pure.

/// Why a stream id names no key to publish to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// There is no stream id, or none in it.
    #[error("the connection names no stream key: add streamid=KEY to the address")]
    NoKey,
    /// It asks to play.
    #[error("streams are not played by SRT: use HLS or DASH")]
    Request,
    /// It asks for what is neither publishing nor playing, or for files.
    #[error("the stream id asks for what is not served: use m=publish")]
    Unsupported,
}

/// The access-control form begins so.
const ACCESS_CONTROL: &str = "#!::";

/// The stream key, as the publisher sent it.
pub(super) fn key(stream_id: &str) -> Result<&str, Error> {
    let key = match stream_id.strip_prefix(ACCESS_CONTROL) {
        Some(fields) => access_control(fields)?,
        None => plain(stream_id)?,
    };
    if key.is_empty() { Err(Error::NoKey) } else { Ok(key) }
}

fn plain(stream_id: &str) -> Result<&str, Error> {
    match stream_id.split_once([':', '/']) {
        None => Ok(stream_id),
        Some(("publish", key)) => Ok(key),
        Some(("request" | "read" | "play", _)) => Err(Error::Request),
        Some(_) => Err(Error::Unsupported),
    }
}

/// Who says no mode is taken to publish: nothing else can be done here.
fn access_control(fields: &str) -> Result<&str, Error> {
    let mut key = "";
    for (name, value) in fields.split(',').filter_map(|field| field.split_once('=')) {
        match (name, value) {
            ("r", resource) => key = resource,
            ("m", "request") => return Err(Error::Request),
            ("m", mode) if mode != "publish" => return Err(Error::Unsupported),
            ("t", kind) if kind != "stream" => return Err(Error::Unsupported),
            _ => {}
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_publisher_names_its_key() {
        for id in [
            "k_1",
            "publish:k_1",
            "publish/k_1",
            "#!::r=k_1,m=publish",
            "#!::m=publish,r=k_1,t=stream,u=somebody,h=host",
            "#!::r=k_1",
        ] {
            assert_eq!(key(id), Ok("k_1"), "{id}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (id, why) in [
            ("", Error::NoKey),
            ("publish:", Error::NoKey),
            ("#!::", Error::NoKey),
            ("#!::m=publish,u=k_1", Error::NoKey),
            ("request:k_1", Error::Request),
            ("read/k_1", Error::Request),
            ("#!::r=k_1,m=request", Error::Request),
            ("#!::r=k_1,m=bidirectional", Error::Unsupported),
            ("#!::r=k_1,m=publish,t=file", Error::Unsupported),
            ("live/k_1", Error::Unsupported),
        ] {
            assert_eq!(key(id), Err(why), "{id}");
        }
    }
}
