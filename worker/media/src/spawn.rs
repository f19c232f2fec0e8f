//! Starts media children. The only place that does.

use std::{
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

use crate::card::Card;

/// Where container platforms put the driver's libraries without telling the linker; others have them where all are.
pub(crate) const DRIVER_FOLDERS: [&str; 2] = ["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib"];

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

/// Starts `binary` with pipes, killed when dropped, without our environment, and out of reach of the
/// terminal's Ctrl-C, so that a drain can finish its work.
pub(crate) async fn spawn(binary: &Path, card: Option<&Card>) -> io::Result<Child> {
    let mut command = Command::new(binary);
    command
        .env_clear()
        // Each further arena of glibc's allocator reserves 64 MiB of the address space that is limited.
        .env("MALLOC_ARENA_MAX", "2")
        // SVT-AV1 tells its settings at every start otherwise; 1 is for errors alone.
        .env("SVT_LOG", "1")
        // ONNX Runtime's own builds send their maker what they are used for, unless told so before they are loaded. They
        // would not get far: a socket ends the child.
        .env("ORT_DISABLE_TELEMETRY", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(card) = card {
        command
            .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
            .env("CUDA_VISIBLE_DEVICES", card.visible())
            // It would be written below a home folder, where one job could leave code for the next.
            .env("CUDA_CACHE_DISABLE", "1")
            .env("LD_LIBRARY_PATH", DRIVER_FOLDERS.join(":"));
    }
    let (reply, answer) = oneshot::channel();
    SPAWNER
        .send(Order { command, runtime: Handle::current(), reply })
        .map_err(|_| io::Error::other("the spawner is gone"))?;
    answer.await.map_err(|_| io::Error::other("the spawner is gone"))?
}
