//! Starts media children. The only place that does.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::Path,
    process::Stdio,
    sync::{LazyLock, mpsc},
};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

use crate::job::Job;

/// Where container platforms put the driver's libraries, and NVIDIA's installer CUDA's, without telling the linker; others
/// have them where all are.
pub(crate) const LIBRARY_FOLDERS: [&str; 3] =
    ["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/local/cuda/lib64"];

struct Order {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// A child asks the kernel to be killed when its parent dies, and the kernel means the *thread* that started
/// it (prctl(2), `PR_SET_PDEATHSIG`). Threads of the runtime come and go; this one stays.
static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    std::thread::Builder::new()
        .name("media-spawner".into())
        .spawn(move || {
            for Order { mut command, runtime, reply } in inbox {
                let _context = runtime.enter();
                // A caller that is gone drops the child, which kills it.
                let _ = reply.send(command.spawn());
            }
        })
        .expect("a thread can be started at program start");
    orders
});

/// Starts `binary` for `job`, with pipes, killed when dropped, without our environment, and out of reach of the
/// terminal's Ctrl-C, so that a drain can finish its work.
pub(crate) async fn spawn(binary: &Path, job: &Job) -> io::Result<Child> {
    let mut command = Command::new(binary);
    command
        .env_clear()
        .envs(environment(job))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let (reply, answer) = oneshot::channel();
    SPAWNER
        .send(Order { command, runtime: Handle::current(), reply })
        .map_err(|_| io::Error::other("the spawner is gone"))?;
    answer.await.map_err(|_| io::Error::other("the spawner is gone"))?
}

/// All that a child is told by its environment.
fn environment(job: &Job) -> Vec<(&'static str, OsString)> {
    let mut all: Vec<(_, OsString)> = vec![
        // Each further arena of glibc's allocator reserves 64 MiB of the address space that is limited.
        ("MALLOC_ARENA_MAX", "2".into()),
        // SVT-AV1 tells its settings at every start otherwise; 1 is for errors alone.
        ("SVT_LOG", "1".into()),
        // ONNX Runtime's own builds send their maker what they are used for, unless told so before they are loaded. They
        // would not get far: a socket ends the child.
        ("ORT_DISABLE_TELEMETRY", "1".into()),
    ];
    if let Some(card) = job.card() {
        let folders = job.libraries().into_iter().chain(LIBRARY_FOLDERS.map(Path::new));
        let folders: Vec<&OsStr> = folders.map(Path::as_os_str).collect();
        all.extend([
            ("CUDA_DEVICE_ORDER", "PCI_BUS_ID".into()),
            ("CUDA_VISIBLE_DEVICES", card.visible().into()),
            // It would be written below a home folder, where one job could leave code for the next.
            ("CUDA_CACHE_DISABLE", "1".into()),
            ("LD_LIBRARY_PATH", folders.join(OsStr::new(":"))),
        ]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        card::{Card, TryCard},
        job::Look,
    };

    #[test]
    fn only_a_job_with_a_card_is_told_of_it_and_of_its_libraries() {
        let told = |job: &Job, name: &str| {
            let all = environment(job);
            all.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.into_string().unwrap())
        };
        let card = Card { index: 1, minor: 3, uuid: None };
        let look = Look {
            runtime: "/m/onnxruntime-cuda/lib.so".into(),
            moderation: None,
            detection: None,
            embedding: None,
            threads: 1,
            card: Some(card.clone()),
        };
        let system = "/usr/local/nvidia/lib64:/usr/local/nvidia/lib:/usr/local/cuda/lib64";
        let job = Job::TryCard(TryCard { card });
        assert_eq!(told(&job, "LD_LIBRARY_PATH").as_deref(), Some(system));
        let job = Job::Look(look.clone());
        assert_eq!(told(&job, "LD_LIBRARY_PATH"), Some(format!("/m/onnxruntime-cuda:{system}")));
        assert_eq!(told(&job, "CUDA_VISIBLE_DEVICES").as_deref(), Some("1"));
        let job = Job::Look(Look { card: None, ..look });
        assert_eq!((told(&job, "LD_LIBRARY_PATH"), told(&job, "CUDA_VISIBLE_DEVICES")), (None, None));
        assert_eq!(told(&job, "ORT_DISABLE_TELEMETRY").as_deref(), Some("1"));
    }
}
