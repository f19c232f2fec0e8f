//! A cache in front, as a CDN is: Apache's `mod_cache` before the orchestrator, players behind it.

use std::{fs, net::TcpListener};

use crate::{
    api::{Answer, Api},
    clip::live_source,
    house::House,
    live::{recording, small_ladder, until_playable},
    player,
    playlist::Media,
    program::Program,
    push::push,
    stranger::Stranger,
    wait::{s, until},
};

/// It keeps what does not say for how long for ten minutes, so that whatever is said too little shows.
const CONFIG: &str = "
    ServerRoot DIR
    DefaultRuntimeDir DIR
    PidFile DIR/cdn.pid
    ErrorLog DIR/error.log
    ServerName cdn.example
    Listen ADDRESS
    LoadModule mpm_event_module MODULES/mod_mpm_event.so
    LoadModule authz_core_module MODULES/mod_authz_core.so
    LoadModule proxy_module MODULES/mod_proxy.so
    LoadModule proxy_http_module MODULES/mod_proxy_http.so
    LoadModule cache_module MODULES/mod_cache.so
    LoadModule cache_disk_module MODULES/mod_cache_disk.so
    CacheRoot DIR/cache
    CacheEnable disk /
    CacheMaxFileSize 100000000
    CacheDefaultExpire 600
    CacheIgnoreNoLastMod On
    CacheHeader On
    ProxyPass / http://ORIGIN/
";

struct Cdn {
    address: String,
    _program: Program,
    _user: Stranger,
}

impl Cdn {
    #[track_caller]
    fn before(house: &House) -> Self {
        let user = Stranger::new();
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = free.local_addr().expect("a bound socket has an address").to_string();
        drop(free);
        let dir = user.dir().to_str().expect("the tests' paths are UTF-8");
        let config = CONFIG.replace("DIR", dir).replace("ADDRESS", &address).replace("ORIGIN", &house.http);
        let config = config.replace("MODULES", "/usr/lib/apache2/modules");
        fs::create_dir(user.dir().join("cache")).expect("a folder can be made");
        user.owns(&user.dir().join("cache"));
        fs::write(user.dir().join("cdn.conf"), config).expect("the folder can be written");
        let mut command = user.command("/usr/sbin/apache2");
        command.args(["-DFOREGROUND", "-f"]).arg(user.dir().join("cdn.conf"));
        let mut program = Program::start_group("cdn", &mut command, house.log_path("cdn"));
        let api = house.api.at(&address);
        until("the cache to answer", s(30), || {
            assert!(program.ended().is_none(), "the cache ended as it started:\n{}", program.log());
            api.send("GET", "/healthz", &[], None).ok().filter(|answer| answer.status == 200)
        });
        Self { address, _program: program, _user: user }
    }
}

/// Whether the answer came out of the cache.
fn kept(answer: &Answer) -> bool {
    answer.header("x-cache").starts_with("HIT")
}

fn get(api: &Api, url: &str, headers: &[(&str, &str)]) -> Answer {
    api.send("GET", url, headers, None).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn a_cache_in_front_keeps_what_it_may_and_apps_are_told_its_address() {
    let mut house = House::with_workers(1);
    let cdn = Cdn::before(&house);
    house.api = house.api.at(&cdn.address);
    let api = house.api.clone();
    let stream = api.create("live", &small_ladder());
    let front = format!("http://{}/", cdn.address);
    assert!(stream.playback.hls.starts_with(&front), "{stream:?}");
    // Who lies about the address lies to himself: the next one is told the right one.
    let path = format!("/v1/streams/{}", stream.id);
    let key = api.bearer();
    for lie in [("forwarded", "host=evil.example"), ("x-forwarded-host", "evil.example"), ("host", "evil.example")] {
        assert_eq!(get(&api, &path, &[lie, ("authorization", &key)]).status, 200, "{lie:?}");
        let told = api.stream(&stream.id);
        assert!(told.playback.hls.starts_with(&front), "{told:?}");
    }
    assert_eq!(get(&api, &path, &[]).status, 401, "what the administrator was told is not kept for others");

    // A segment that is asked for too early is there later all the same.
    let early = format!("/hls/{}/360p/3.m4s", stream.id);
    assert_eq!(get(&api, &early, &[]).status, 404);
    let mut publisher = push(&house, &stream, &live_source(24));
    let master = until_playable(&house, &stream, 3);
    let ffmpeg = player::ffmpeg(&house, &stream.playback.hls, 8);
    until("the early segment", s(20), || (get(&api, &early, &[]).status == 200).then_some(()));

    // Segments are kept, whole, and their parts are right; playlists move on.
    let list = Media::fetch(&api, &master.rungs[0].url).unwrap();
    let url = &list.segments[0].url;
    let first = get(&api, url, &[]);
    // It is written to the cache's disk as it is sent.
    let second = until("a segment to be kept", s(10), || Some(get(&api, url, &[])).filter(kept));
    assert!(first.body == second.body, "the cache holds another segment");
    let part = get(&api, url, &[("range", "bytes=10-19")]);
    assert_eq!((part.status, &part.body[..]), (206, &first.body[10..20]));
    until("the playlist to move on", s(20), || {
        Media::fetch(&api, &master.rungs[0].url).filter(|now| now.text != list.text)
    });
    assert!(player::ffmpeg_end(ffmpeg) >= 8 * 24 - 2);

    // Both forms of a recording's playlist are kept, each for those who can read it.
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let url = recording(&house, &stream).rungs[0].url.clone();
    until("both forms to be kept", s(10), || {
        let (plain, packed) = (get(&api, &url, &[]), get(&api, &url, &[("accept-encoding", "gzip")]));
        assert!(plain.body.starts_with(b"#EXTM3U") && packed.body.starts_with(&[0x1f, 0x8b]), "the forms are mixed up");
        (kept(&plain) && kept(&packed)).then_some(())
    });
}
