//! What a user of a card sees when the process that serves it dies.

use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nitride_driver::nvme::{Command, Error, Nvme, Options, Wait};
use nitride_driver::{Error as FunctionError, VfioUser};
use rustix::process::{Pid, Signal, kill_process};

/// A process that does not outlive its test.
struct Daemon(Child);

impl Daemon {
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

#[test]
fn a_command_in_flight_ends_when_the_daemon_dies_whatever_its_timeout() {
    for wait in [Wait::Poll, Wait::Interrupt] {
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
        let nvme =
            Nvme::open(function, Options { wait, timeout: Duration::from_hours(1), ..Options::default() })
                .unwrap();
        let queue = nvme.queue_pair(0).unwrap();
        queue.execute(&Command::Flush { namespace: 1 }).unwrap();

        let pid = Pid::from_raw(daemon.0.id().cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let waiting = thread::spawn(move || queue.execute(&Command::Flush { namespace: 1 }));
        thread::sleep(Duration::from_millis(100));
        daemon.kill();
        let outcome = waiting.join().unwrap();
        assert!(matches!(outcome, Err(Error::Function(FunctionError::Gone { .. }))), "{outcome:?}");
    }
}
