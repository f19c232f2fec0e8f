//! A real browser: headless Chromium, driven by chromedriver over the W3C `WebDriver` protocol.

use std::{env, fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    program::Program,
    wait::{s, until},
};

/// The arguments keep the browser from asking the outside for anything, and let video start without a click.
const ARGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--window-size=1100,900",
];

/// One browser window. Closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    agent: ureq::Agent,
    session: String,
    _driver: Program,
}

impl Browser {
    /// Starts a browser with a new profile; `scratch` takes the profile and the log.
    #[track_caller]
    pub(crate) fn start(scratch: &Path) -> Self {
        let profile = scratch.join("browser");
        fs::create_dir_all(&profile).expect("a folder can be made");
        let mut command = Command::new(env::var_os("MILLRACE_CHROMEDRIVER").unwrap_or("chromedriver".into()));
        command.arg("--port=0");
        // A group of its own: the browser outlives a driver that is killed.
        let mut driver = Program::start_group("chromedriver", &mut command, scratch.join("chromedriver.log"));
        let port = until("chromedriver to listen", s(30), || {
            assert!(driver.ended().is_none(), "chromedriver ended as it started:\n{}", driver.log());
            let log = driver.log();
            let (_, port) = log.rsplit_once("started successfully on port ")?;
            port.split_once('.')?.0.parse::<u16>().ok()
        });
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(s(60))).build();
        let agent: ureq::Agent = config.into();
        let mut args: Vec<_> = ARGS.map(str::to_owned).into();
        args.push(format!("--user-data-dir={}", profile.display()));
        let options =
            json!({"args": args, "binary": env::var("MILLRACE_CHROMIUM").unwrap_or("/usr/bin/chromium".into())});
        let ask = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let root = format!("http://127.0.0.1:{port}/session");
        let made = post(&agent, &root, &ask);
        let id = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}\n{}", driver.log()));
        let session = format!("{root}/{id}");
        Self { agent, session, _driver: driver }
    }

    /// Opens a page.
    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        post(&self.agent, &format!("{}/url", self.session), &json!({"url": url}));
    }

    /// Runs the body of a JavaScript function in the page, and returns what it returns.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        post(&self.agent, &format!("{}/execute/sync", self.session), &json!({"script": script, "args": []}))
    }

    /// What the window shows, as PNG in base64.
    #[track_caller]
    pub(crate) fn screenshot(&self) -> String {
        let url = format!("{}/screenshot", self.session);
        let mut answer = self.agent.get(&url).call().expect("chromedriver answers");
        let value: Value =
            answer.body_mut().with_config().limit(64 << 20).read_json().expect("chromedriver sends JSON");
        value["value"].as_str().expect("a screenshot is text").to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Lets the browser close by itself; the driver's group is killed after that.
        let _ = self.agent.delete(&self.session).call();
    }
}

/// A command of the protocol; fails the test if it is refused.
#[track_caller]
fn post(agent: &ureq::Agent, url: &str, body: &Value) -> Value {
    let mut answer = agent.post(url).send_json(body).unwrap_or_else(|error| panic!("{url}: {error}"));
    let value: Value = answer.body_mut().read_json().expect("chromedriver sends JSON");
    assert!(answer.status().is_success(), "{url}: {value}");
    value["value"].clone()
}
