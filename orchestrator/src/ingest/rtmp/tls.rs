//! The certificate of RTMPS: read from PEM files, and read again when they change. Never makes one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read, or holds no PEM.
    #[error("{}: {source}: set rtmps.cert and rtmps.key to PEM files", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The key is not the certificate's, or either can't be used.
    #[error("the certificate and the key of RTMPS do not go together: {0}")]
    Pair(#[from] rustls::Error),
}

/// A certificate with its key, from two files.
#[derive(Debug)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// What the files looked like.
    looks: [Option<Look>; 2],
    config: Arc<ServerConfig>,
}

/// Size and time of the last change.
type Look = (u64, SystemTime);

impl Tls {
    /// Reads both files.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, Error> {
        let looks = looks(cert, key);
        let loaded = Mutex::new(Loaded { looks, config: read(cert, key)? });
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), loaded })
    }

    /// For the next connection: with what the files hold now. Files that can't be used, as in the middle of being
    /// replaced, change nothing.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config().into()
    }

    fn config(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = looks(&self.cert, &self.key);
        if looks != loaded.looks {
            match read(&self.cert, &self.key) {
                Ok(config) => {
                    info!("rtmps has a new certificate");
                    *loaded = Loaded { looks, config };
                }
                Err(error) => warn!("rtmps goes on with its old certificate: {error}"),
            }
        }
        loaded.config.clone()
    }
}

fn looks(cert: &Path, key: &Path) -> [Option<Look>; 2] {
    let look = |path| -> io::Result<Look> {
        let about = fs::metadata(path)?;
        Ok((about.len(), about.modified()?))
    };
    [look(cert).ok(), look(key).ok()]
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let broken = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let key = PrivateKeyDer::from_pem_file(key).map_err(broken(key))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(broken(cert))?, key)?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(cert: &Path, key: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(cert, made.cert.pem()).unwrap();
        fs::write(key, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn files_that_change_are_read_again_and_broken_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        assert!(Tls::load(&cert, &key).unwrap_err().to_string().contains("key.pem"));
        write(&cert, &key, "a.example");
        let tls = Tls::load(&cert, &key).unwrap();
        let first = tls.config();
        assert!(Arc::ptr_eq(&first, &tls.config()));
        fs::write(&cert, "no certificate").unwrap();
        assert!(Arc::ptr_eq(&first, &tls.config()));
        write(&cert, &key, "another-and-longer.example");
        assert!(!Arc::ptr_eq(&first, &tls.config()));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("cert"), &at("key"), "a.example");
        write(&at("other-cert"), &at("other-key"), "a.example");
        assert!(matches!(Tls::load(&at("cert"), &at("other-key")), Err(Error::Pair(_))));
    }
}
