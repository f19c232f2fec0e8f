//! The doors for publishers: RTMP, RTMPS and SRT. Opens their sockets as configured, tells where they are, and lets
//! publishers in by all of them. Called by `serve`.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use futures_util::future::OptionFuture;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    house::House,
    ingest::{event::Publish, rtmp, rtmp::Tls, srt},
};

/// Listening sockets.
#[derive(Debug)]
pub(super) struct Doors {
    rtmp: TcpListener,
    rtmps: Option<(TcpListener, Tls)>,
    srt: Option<srt::Listener>,
}

/// Where they listen.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) rtmp: SocketAddr,
    pub(super) rtmps: Option<SocketAddr>,
    pub(super) srt: Option<SocketAddr>,
}

/// What came in by them.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    pub(super) rtmp: Arc<rtmp::Counters>,
    pub(super) srt: Arc<srt::Counters>,
}

impl Doors {
    /// Opens all that are configured.
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let rtmp = super::listen("RTMP", config.rtmp).await?;
        let rtmps = match config.rtmps.address()? {
            Some(at) => Some((super::listen("RTMPS", at).await?, Tls::load(&config.rtmps.cert, &config.rtmps.key)?)),
            None => None,
        };
        Ok(Self { rtmp, rtmps, srt: listen_srt(config).await? })
    }

    pub(super) fn at(&self) -> Result<At> {
        let rtmps = self.rtmps.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?;
        let srt = self.srt.as_ref().map(srt::Listener::local_addr);
        Ok(At { rtmp: self.rtmp.local_addr()?, rtmps, srt })
    }

    /// Lets publishers in until `stop`.
    pub(super) async fn take(
        self,
        house: Arc<House>,
        counters: Counters,
        publishers: mpsc::Sender<Publish>,
        stop: CancellationToken,
    ) {
        let limits = &house.config.rtmp_server;
        let rtmp = rtmp::serve(self.rtmp, limits.clone(), counters.rtmp.clone(), publishers.clone(), stop.clone());
        let rtmps = self.rtmps.map(|(listener, tls)| {
            let (limits, counters) = (limits.clone(), counters.rtmp.clone());
            rtmp::serve_tls(listener, tls, limits, counters, publishers.clone(), stop.clone())
        });
        let srt = self.srt.map(|listener| {
            let (limits, launcher) = (house.config.srt_server.clone(), house.launcher.clone());
            srt::serve(listener, limits, counters.srt, launcher, publishers.clone(), stop.clone())
        });
        tokio::join!(rtmp, OptionFuture::from(rtmps), OptionFuture::from(srt));
    }
}

async fn listen_srt(config: &Config) -> Result<Option<srt::Listener>> {
    let Some(at) = config.srt.address()? else { return Ok(None) };
    let listener = srt::Listener::bind(at, config.srt.passphrase()?, &config.srt_server).await;
    listener.map(Some).with_context(|| {
        format!("can't listen for SRT at {at}: stop what uses the UDP port, or choose another with --srt")
    })
}
