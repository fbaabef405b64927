//! The daemon's vfio-user server, over the NVMe model, spoken to by our client and by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use nitride_driver::vfio_user::protocol::{Command, HEADER, Header, Writer, flags};
use nitride_driver::{Access, Function, Memory, VfioUser};
use nitride_sim::daemon::Server;
use nitride_tests::nvme_model::{Controller, ModelFunction};

struct Served {
    model: Arc<ModelFunction>,
    server: Server,
    _directory: tempfile::TempDir,
}

fn serve() -> Served {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let model = Arc::new(ModelFunction::new("model", Controller::new(2, Default::default())));
    let server = Server::start(&directory.path().join("f.sock"), Arc::clone(&model) as _).expect("a server");
    Served { model, server, _directory: directory }
}

fn read32(function: &dyn Function, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    function.bar_read(0, offset, &mut bytes).expect("a register");
    u32::from_le_bytes(bytes)
}

/// A request by hand, and the errno of its answer.
fn raw(stream: &mut UnixStream, command: u16, payload: &[u8]) -> u32 {
    let header = Header { id: 7, command, size: (HEADER + payload.len()) as u32, flags: 0, error: 0 };
    stream.write_all(&header.to_bytes()).and_then(|()| stream.write_all(payload)).expect("sent");
    let mut bytes = [0; HEADER];
    stream.read_exact(&mut bytes).expect("an answer");
    let reply = Header::from_bytes(&bytes);
    assert_eq!((reply.id, reply.flags & flags::TYPE), (7, flags::REPLY));
    let mut rest = vec![0; reply.size as usize - HEADER];
    stream.read_exact(&mut rest).expect("its payload");
    if reply.flags & flags::ERROR == 0 { 0 } else { reply.error }
}

#[test]
fn client_sees_the_function_that_is_served() {
    let served = serve();
    let client = VfioUser::open(served.server.path()).expect("a connection");
    let (here, there) = (served.model.info(), client.info());
    assert_eq!(
        (here.bars, here.msix_vectors, here.config_size),
        (there.bars, there.msix_vectors, there.config_size)
    );
    assert_eq!(read32(&client, 8), 0x0001_0400, "NVMe 1.4");
    let (mut over_socket, mut direct) = ([0; 256], [0; 256]);
    client.config_read(0, &mut over_socket).expect("configuration space");
    served.model.config_read(0, &mut direct).expect("configuration space");
    assert_eq!(over_socket, direct);
}

#[test]
fn second_client_is_turned_away_and_may_come_after_the_first_left() {
    let served = serve();
    let first = VfioUser::open(served.server.path()).expect("a connection");
    let error = VfioUser::open(served.server.path()).expect_err("the function is taken").to_string();
    assert!(error.contains("busy"), "{error}");
    drop(first);
    VfioUser::open(served.server.path()).expect("the function is free at once");
}

#[test]
fn function_of_a_client_that_left_is_reset_and_sees_no_memory_of_it() {
    let served = serve();
    let client = VfioUser::open(served.server.path()).expect("a connection");
    let memory = Arc::new(Memory::new("guest", 1 << 20, false).expect("memory"));
    client.dma_map(0, memory, Access::ReadWrite).expect("mapped");
    client.bar_write(0, 0x24, &0x001f_001fu32.to_le_bytes()).expect("AQA");
    client.bar_write(0, 0x14, &0x0046_0001u32.to_le_bytes()).expect("CC.EN");
    assert_eq!(read32(&client, 0x1c) & 1, 1, "CSTS.RDY");
    drop(client);
    let next = (0..1000).find_map(|_| VfioUser::open(served.server.path()).ok()).expect("the next client");
    assert_eq!(read32(&next, 0x1c), 0, "CSTS after the reset");
    let memory = Arc::new(Memory::new("next", 1 << 20, false).expect("memory"));
    next.dma_map(0, memory, Access::ReadWrite).expect("the same address is free again");
}

#[test]
fn bad_requests_get_an_errno_and_the_connection_goes_on() {
    let served = serve();
    let mut stream = UnixStream::connect(served.server.path()).expect("a connection");
    let invalid = rustix::io::Errno::INVAL.raw_os_error() as u32;
    assert_eq!(raw(&mut stream, 99, &[]), rustix::io::Errno::OPNOTSUPP.raw_os_error() as u32);
    let read = |region: u32, offset: u64, count: u32| {
        Writer::<16>::default().u64(offset).u32(region).u32(count).written().to_vec()
    };
    let command = Command::RegionRead as u16;
    for (region, offset, count) in [
        (0, 0x4000, 4),
        (0, u64::MAX, 4),
        (0, 0, 0),
        (0, 0, 1 << 20),
        (1, 0, 4),
        (7, 4095, 2),
        (1 << 31, 0, 4),
    ] {
        assert_eq!(
            raw(&mut stream, command, &read(region, offset, count)),
            invalid,
            "{region} {offset:#x} {count}"
        );
    }
    assert_eq!(raw(&mut stream, command, &[1, 2, 3]), invalid, "a request cut short");
    let map = Writer::<32>::default().u32(32).u32(3).u64(0).u64(u64::MAX - 4095).u64(8192).written().to_vec();
    assert_eq!(raw(&mut stream, Command::DmaMap as u16, &map), invalid, "a mapping that wraps");
    let irqs = Writer::<20>::default().u32(20).u32(0x24).u32(2).u32(u32::MAX).u32(2).written().to_vec();
    assert_eq!(raw(&mut stream, Command::DeviceSetIrqs as u16, &irqs), invalid, "vectors out of range");
    assert_eq!(raw(&mut stream, command, &read(0, 8, 4)), 0);
}

#[test]
fn oversized_message_closes_the_connection_and_not_the_server() {
    let served = serve();
    let mut stream = UnixStream::connect(served.server.path()).expect("a connection");
    let header = Header { id: 1, command: Command::Version as u16, size: u32::MAX, flags: 0, error: 0 };
    stream.write_all(&header.to_bytes()).expect("sent");
    assert_eq!(stream.read(&mut [0; 1]).expect("the end"), 0);
    let next = (0..1000).find_map(|_| VfioUser::open(served.server.path()).ok());
    assert!(next.is_some());
}

#[test]
fn memory_without_a_file_is_taken_and_unmapped_by_a_range_around_it() {
    let served = serve();
    let mut stream = UnixStream::connect(served.server.path()).expect("a connection");
    let map =
        |iova: u64| Writer::<32>::default().u32(32).u32(3).u64(0).u64(iova).u64(4096).written().to_vec();
    let unmap = Writer::<24>::default().u32(24).u32(0).u64(0).u64(1 << 30).written().to_vec();
    assert_eq!(raw(&mut stream, Command::DmaMap as u16, &map(0x10_0000)), 0);
    assert_eq!(raw(&mut stream, Command::DmaMap as u16, &map(0x10_0000)), 17, "EEXIST");
    assert_eq!(raw(&mut stream, Command::DmaUnmap as u16, &unmap), 0);
    assert_eq!(raw(&mut stream, Command::DmaMap as u16, &map(0x10_0000)), 0);
}

#[test]
fn socket_goes_with_the_server_and_a_dead_one_is_replaced() {
    let served = serve();
    let path = served.server.path().to_owned();
    assert!(Server::start(&path, Arc::clone(&served.model) as _).is_err(), "the address is in use");
    drop(served.server);
    assert!(!Path::exists(&path));
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists(), "left behind");
    Server::start(&path, served.model).expect("replaces it");
}
