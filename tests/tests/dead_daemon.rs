//! What a user of a card sees when the process that serves it dies.

use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nitride_driver::nvme::{AsyncQueue, Command, Error, Nvme, Options, Wait};
use nitride_driver::{Error as FunctionError, VfioUser};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A process that does not outlive its test.
struct Daemon(Child);

impl Daemon {
    /// Stops it from answering.
    fn stop(&self) {
        let pid = Pid::from_raw(self.0.id().cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A controller behind a daemon of its own. The time-out is so long that a test would hang on it.
fn served(wait: Wait) -> (TempDir, Daemon, Nvme) {
    let folder = tempfile::tempdir().unwrap();
    let (socket, image) = (folder.path().join("function.sock"), folder.path().join("image"));
    std::fs::write(&image, vec![0; 1 << 20]).unwrap();
    let mut daemon = Process::new(env!("CARGO_BIN_EXE_nvme-model"));
    let mut daemon = Daemon(daemon.args([&socket, &image]).stdin(Stdio::null()).spawn().unwrap());
    while !socket.exists() {
        assert!(daemon.0.try_wait().unwrap().is_none(), "the model ended");
        thread::sleep(Duration::from_millis(10));
    }
    let function = Arc::new(VfioUser::open(&socket).unwrap());
    let nvme = Nvme::open(function, Options { wait, timeout: Duration::from_hours(1), ..Options::default() })
        .unwrap();
    (folder, daemon, nvme)
}

const FLUSH: Command<'_> = Command::Flush { namespace: 1 };

fn assert_gone(outcome: &Result<u32, Error>) {
    assert!(matches!(outcome, Err(Error::Function(FunctionError::Gone { .. }))), "{outcome:?}");
}

#[test]
fn a_command_in_flight_ends_when_the_daemon_dies_whatever_its_timeout() {
    for wait in [Wait::Poll, Wait::Interrupt] {
        let (_folder, mut daemon, nvme) = served(wait);
        let queue = nvme.queue_pair(0).unwrap();
        queue.execute(&FLUSH).unwrap();
        daemon.stop();
        let waiting = thread::spawn(move || queue.execute(&FLUSH));
        thread::sleep(Duration::from_millis(100));
        daemon.kill();
        assert_gone(&waiting.join().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn futures_end_when_the_daemon_dies() {
    let (_folder, mut daemon, nvme) = served(Wait::Interrupt);
    let queue = Arc::new(AsyncQueue::new(nvme.queue_pair(0).unwrap()).unwrap());
    queue.execute(&FLUSH).await.unwrap();
    daemon.stop();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn({
                let queue = queue.clone();
                async move { queue.execute(&FLUSH).await }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    daemon.kill();
    for future in waiting {
        assert_gone(&future.await.unwrap());
    }
    assert_gone(&queue.execute(&FLUSH).await);
}
