//! The house: everything that the parts of one running orchestrator share.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use millrace_media::Launcher;
use millrace_proto::StreamId;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::{
    config::Config,
    farm::{Farm, sessions::Sessions},
    http::sealed::Seals,
    ingest::{pull::Pulls, push::Pushes},
    media::MediaStore,
    metrics::Metrics,
    playback::Secret,
    portraits::Portraits,
    store::Store,
    uploads::Uploads,
    verify::Verifier,
};

/// What the parts share.
#[derive(Debug)]
pub struct House {
    /// What was configured.
    pub config: Config,
    /// Where apps reach HTTP, without a slash at the end: as configured, or where it listens.
    pub http_url: String,
    /// Where publishers reach RTMP, with the application's name: as configured, or where it listens.
    pub rtmp_url: String,
    /// Where RTMP listens.
    pub rtmp_at: SocketAddr,
    /// Where SRT listens and where publishers reach it, if it is taken.
    pub srt: Option<(SocketAddr, String)>,
    /// The administrator's key.
    pub admin_key: String,
    /// What content keys and playback tokens are made of.
    pub playback: Secret,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The bytes.
    pub media: MediaStore,
    /// Starts the media child.
    pub launcher: Launcher,
    /// Looks at pictures of products.
    pub portraits: Portraits,
    /// Tasks and workers.
    pub farm: Farm,
    /// What workers upload.
    pub uploads: Uploads,
    /// Who the workers are.
    pub sessions: Sessions,
    /// Checks outcomes.
    pub verifier: Verifier,
    /// Which streams have a publisher.
    pub publishing: Busy,
    /// Which streams are pushed into over HTTP.
    pub pushes: Pushes,
    /// Which streams are being fetched.
    pub pulls: Pulls,
    /// Which files are being read.
    pub reading: Busy,
    /// Which uploads are being written.
    pub uploading: Busy,
    /// A file may be complete.
    pub file_complete: Notify,
    /// Places for files to be read.
    pub files: Arc<Semaphore>,
    /// Which streams pictures are made of.
    pub picturing: Busy,
    /// Places for the media child to make pictures.
    pub asset_places: Semaphore,
    /// Places for the media child to put pushed segments' renditions into transport streams.
    pub mux_places: Semaphore,
    /// What encrypting segments may cost at once.
    pub seals: Seals,
    /// Clips wait to be made.
    pub clips: Notify,
    /// Streams that may have something to list.
    pub publish: mpsc::UnboundedSender<StreamId>,
    /// What is measured.
    pub metrics: Metrics,
}

impl House {
    /// Segments of `stream` became durable: workers and players may go on.
    pub fn committed(&self, stream: &StreamId) {
        self.farm.assign.notify_one();
        self.farm.plan.notify_one();
        // The receiver lives as long as the program; at its end nobody needs to know.
        let _ = self.publish.send(stream.clone());
    }

    /// Folder for short-lived files.
    pub fn scratch(&self) -> PathBuf {
        self.config.data.join("scratch")
    }
}

/// Streams that something is being done to, one doer each. Memory only.
#[derive(Debug, Default, Clone)]
pub struct Busy(Arc<Mutex<HashSet<StreamId>>>);

/// One doer's hold; ends when dropped.
#[derive(Debug)]
pub struct Hold(Busy, StreamId);

impl Busy {
    /// Begins, unless someone else has.
    pub fn begin(&self, stream: &StreamId) -> Option<Hold> {
        let free = self.0.lock().expect("no panic while held").insert(stream.clone());
        free.then(|| Hold(self.clone(), stream.clone()))
    }

    /// Whether anything is being done.
    pub fn any(&self) -> bool {
        !self.0.lock().expect("no panic while held").is_empty()
    }

    /// Whether someone is at it.
    pub fn has(&self, stream: &StreamId) -> bool {
        self.0.lock().expect("no panic while held").contains(stream)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.lock().expect("no panic while held").remove(&self.1);
    }
}
