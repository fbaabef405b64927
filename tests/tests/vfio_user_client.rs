//! The vfio-user back end against a server that is not ours, with the NVMe model behind it.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nitride_abi::card::PF_STORAGE;
use nitride_abi::nvme::register::{ACQ, AQA, ASQ, CAP, CC, CSTS, cq_head_doorbell, sq_tail_doorbell};
use nitride_abi::nvme::{CAP_VALUE, CQE_BYTES, Cqe, Sqe, Status, command, identify_controller};
use nitride_driver::{Access, Error, Function, Memory, VfioUser};
use nitride_tests::nvme_model::{Controller, ModelFunction, Namespace};
use nitride_tests::reference_server::ReferenceServer;
use rustix::event::{EventfdFlags, eventfd};
use tempfile::TempDir;

fn served() -> (TempDir, PathBuf, Arc<ModelFunction>, JoinHandle<()>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("function.sock");
    let namespaces = [Some(Namespace::new(64, 0)), None, None, None];
    let function = Arc::new(ModelFunction::new("model", Controller::new(PF_STORAGE, namespaces)));
    let server = ReferenceServer::bind(&socket, function.clone()).unwrap();
    let thread = thread::spawn(move || server.serve().unwrap());
    (folder, socket, function, thread)
}

fn read(function: &dyn Function, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    function.bar_read(0, offset, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

fn write(function: &dyn Function, offset: u64, value: u64) {
    function.bar_write(0, offset, &(value as u32).to_le_bytes()).unwrap();
}

fn message(from: &mut impl Read) -> Vec<u8> {
    let mut message = vec![0; 16];
    from.read_exact(&mut message).unwrap();
    let size = u32::from_le_bytes(message[4..8].try_into().unwrap()) as usize;
    message.resize(size, 0);
    from.read_exact(&mut message[16..]).unwrap();
    message
}

fn counter(fd: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    rustix::io::read(fd, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
}

#[test]
fn a_function_looks_the_same_on_both_sides_of_the_socket() {
    let (_folder, socket, model, server) = served();
    let remote = VfioUser::open(&socket).unwrap();
    assert_eq!(remote.info().bars, model.info().bars);
    assert_eq!((remote.info().msix_vectors, remote.info().config_size), (8, 4096));
    let (mut ours, mut theirs) = ([0; 4096], [0; 4096]);
    remote.config_read(0, &mut ours).unwrap();
    model.config_read(0, &mut theirs).unwrap();
    assert_eq!(ours, theirs);
    let mut cap = [0; 8];
    remote.bar_read(0, CAP, &mut cap).unwrap();
    assert_eq!(u64::from_le_bytes(cap), CAP_VALUE);
    assert!(matches!(remote.bar_read(0, 0x4000, &mut cap), Err(Error::OutOfRange { .. })));
    assert!(matches!(remote.bar_read(0, 4, &mut cap), Err(Error::OutOfRange { .. })));
    drop(remote);
    server.join().unwrap();
}

#[test]
fn a_command_runs_with_its_data_and_its_interrupt() {
    let (_folder, socket, _model, server) = served();
    let function = VfioUser::open(&socket).unwrap();
    let memory = Arc::new(Memory::new("test", 0x4000, false).unwrap());
    function.config_write(4, &[0x06, 0]).unwrap();
    function.dma_map(0x10_0000, memory.clone(), Access::ReadWrite).unwrap();
    let events = [(); 8].map(|()| eventfd(0, EventfdFlags::NONBLOCK).unwrap());
    function.set_msix(&events.each_ref().map(|event| Some(event.as_fd()))).unwrap();
    // Leaving out vectors must not disturb vector 0.
    function.set_msix(&[Some(events[0].as_fd()), None, Some(events[2].as_fd())]).unwrap();

    write(&function, AQA, 0x000f_000f);
    function.bar_write(0, ASQ, &0x10_0000u64.to_le_bytes()).unwrap();
    function.bar_write(0, ACQ, &0x10_1000u64.to_le_bytes()).unwrap();
    write(&function, CC, 0x0046_0001);
    assert_eq!(read(&function, CSTS), 1);
    let cdw10 = [command::identify::CNS_CONTROLLER as u32, 0, 0, 0, 0, 0];
    let sqe = Sqe { opcode: command::admin::IDENTIFY, cid: 5, prp1: 0x10_2000, cdw10, ..Sqe::default() };
    assert!(memory.write(0, &sqe.to_bytes()));
    write(&function, sq_tail_doorbell(0), 1);
    // A read after the posted doorbell returns after it.
    assert_eq!(read(&function, CSTS), 1);

    let mut cqe = [0; CQE_BYTES];
    assert!(memory.read(0x1000, &mut cqe));
    assert_eq!((Cqe::from_bytes(&cqe).cid, Cqe::from_bytes(&cqe).status), (5, Status::SUCCESS));
    let mut data = [0; 4096];
    assert!(memory.read(0x2000, &mut data));
    assert_eq!(data, identify_controller(PF_STORAGE));
    assert_eq!(events.each_ref().map(counter), [1, 0, 0, 0, 0, 0, 0, 0]);

    // Unmapped and without its vectors, the function reaches nothing.
    function.dma_unmap(0x10_0000, 0x4000).unwrap();
    function.set_msix(&[]).unwrap();
    write(&function, cq_head_doorbell(0), 1);
    write(&function, sq_tail_doorbell(0), 2);
    assert_eq!(read(&function, CSTS), 0b11);
    assert_eq!(counter(&events[0]), 0);
    assert!(matches!(function.dma_unmap(0x10_0000, 0x4000), Err(Error::Io { .. })));
    function.reset().unwrap();
    assert_eq!(read(&function, CSTS), 0);
    drop(function);
    server.join().unwrap();
}

#[test]
fn a_server_that_hangs_up_at_once_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("function.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || drop(listener.accept().unwrap()));
    assert!(matches!(VfioUser::open(&socket), Err(Error::Gone { .. })));
    server.join().unwrap();
    assert!(matches!(VfioUser::open(&socket), Err(Error::Io { .. })));
}

#[test]
fn a_server_that_hangs_up_later_is_gone_and_stays_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, inner) = (folder.path().join("function.sock"), folder.path().join("inner.sock"));
    let model = Arc::new(ModelFunction::new("model", Controller::new(PF_STORAGE, [const { None }; 4])));
    let reference = ReferenceServer::bind(&inner, model).unwrap();
    let server = thread::spawn(move || reference.serve());
    let listener = UnixListener::bind(&socket).unwrap();
    // Relays messages until a DEVICE_RESET (13) comes, then hangs up without an answer.
    let relay = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = UnixStream::connect(inner).unwrap();
        loop {
            let request = message(&mut client);
            if request[2] == 13 {
                return;
            }
            server.write_all(&request).unwrap();
            client.write_all(&message(&mut server)).unwrap();
        }
    });
    let function = VfioUser::open(&socket).unwrap();
    assert!(matches!(function.reset(), Err(Error::Gone { .. })));
    relay.join().unwrap();
    assert!(matches!(function.bar_write(0, 0x1000, &[0; 4]), Err(Error::Gone { .. })));
    assert!(matches!(function.config_read(0, &mut [0; 4]), Err(Error::Gone { .. })));
    server.join().unwrap().unwrap();
}
