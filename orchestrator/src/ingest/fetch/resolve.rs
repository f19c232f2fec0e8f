//! Names: looked up here, so that what was checked is what is connected to. A name that changes its mind between a
//! check and a connection (DNS rebinding) gains nothing.

use std::{net::SocketAddr, sync::Arc};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address;

/// Answers of one name that are looked at.
const ADDRESSES_MAX: usize = 64;

/// A name that leads to forbidden machines alone.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to private addresses")]
pub(super) struct Private;

/// Looks names up, and leaves out what is not permitted.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) allowed: Arc<[IpNet]>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed.clone();
        Box::pin(async move {
            // The port is the URL's; the connector sets it.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permits = |socket: &SocketAddr| address::permits(socket.ip(), &allowed);
            let permitted: Vec<SocketAddr> = found.take(ADDRESSES_MAX).filter(permits).collect();
            if permitted.is_empty() {
                return Err(Private.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
