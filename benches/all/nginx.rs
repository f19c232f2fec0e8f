//! nginx as Debian ships it, with a configuration of a measurement's own, in a scratch folder.

use std::{fs, net::TcpListener, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    house::Program,
    kit::Kit,
    measure::{Usage, children, usage},
};

/// A running nginx, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    program: Program,
    /// Host and port of what the configuration calls `LISTEN`.
    pub(crate) address: String,
    /// What the configuration calls `FOLDER`.
    pub(crate) folder: PathBuf,
}

impl Nginx {
    /// Starts one worker process a core, as the package's own configuration does.
    pub(crate) fn start(kit: &Kit, name: &str, config: &str) -> Result<Self> {
        let folder = kit.folder(name)?;
        let address = free_address()?;
        let text = format!(
            "daemon off;\npid {folder}/nginx.pid;\nerror_log stderr warn;\nworker_processes {cores};\n{user}\
             load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\nevents {{ worker_connections 4096; }}\n{config}",
            folder = folder.display(),
            cores = kit.cores,
            user = if nix::unistd::geteuid().is_root() { "user root;\n" } else { "" },
            config = config.replace("LISTEN", &address).replace("FOLDER", &folder.display().to_string()),
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text)?;
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(&file);
        let mut program = Program::start("nginx", &mut command, folder.join("nginx.log"))?;
        program.until("it listens", 10, || Ok(std::net::TcpStream::connect(&address).ok().map(drop)))?;
        Ok(Self { program, address, folder })
    }

    /// Of all its processes.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let master = self.program.pid();
        let mut sum = Usage::default();
        for pid in [master].into_iter().chain(children(master)) {
            let one = usage(pid)?;
            sum.cpu_s += one.cpu_s;
            sum.memory_mib += one.memory_mib;
            sum.threads += one.threads;
        }
        Ok(sum)
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.program.stop()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it would leave its worker processes behind.
        let _ = self.program.stop();
    }
}

/// nginx can't choose a free port itself: one that was free a moment ago.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr().context("a bound socket has an address")?.to_string())
}
