//! The NVMe driver on the model, in this process and behind a vfio-user socket.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nitride_abi::card::PF_STORAGE;
use nitride_abi::nvme::command::admin;
use nitride_abi::nvme::{Sqe, Status};
use nitride_driver::nvme::{AsyncQueue, Command, Error, Nvme, Options, QueuePair, Wait};
use nitride_driver::{Dma, Function, VfioUser};
use nitride_tests::nvme_model::{Controller, ModelFunction, Namespace};
use nitride_tests::reference_server::ReferenceServer;

const SMALL: u32 = 1;
const LARGE: u32 = 2;
const READ_ONLY: u32 = 4;

/// NSID 1: 512-byte blocks, 2: 4 KiB blocks, 3: inactive, 4: read-only.
fn model() -> Arc<ModelFunction> {
    let namespaces = [
        Some(Namespace::new(16384, 0)),
        Some(Namespace::new(1024, 1)),
        None,
        Some(Namespace::new(64, 0).read_only()),
    ];
    Arc::new(ModelFunction::new("model", Controller::new(PF_STORAGE, namespaces)))
}

fn opened(model: Arc<ModelFunction>, options: Options) -> (Nvme, QueuePair) {
    let nvme = Nvme::open(model, options).unwrap();
    let queue = nvme.queue_pair(0).unwrap();
    (nvme, queue)
}

fn options(wait: Wait) -> Options {
    Options { wait, timeout: Duration::from_millis(100), ..Options::default() }
}

fn pattern(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (seed.wrapping_mul(0x9e37_79b9).wrapping_add(i * i + i / 7) >> 3) as u8).collect()
}

fn contents(buffer: &Dma, offset: usize, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    buffer.read(offset, &mut data).unwrap();
    data
}

fn status(outcome: Result<u32, Error>) -> Status {
    match outcome {
        Ok(_) => Status::SUCCESS,
        Err(Error::Status { status, .. }) => status,
        Err(error) => panic!("{error}"),
    }
}

/// Every PRP shape and size: what is written is on the medium and is read back.
fn check_data(nvme: &Nvme, queue: &QueuePair) {
    let (from, to) = (nvme.allocate(0x11_0000).unwrap(), nvme.allocate(0x11_0000).unwrap());
    let lengths = [512, 4096, 4608, 8192, 12288, 65536, 128 << 10, 1 << 20];
    for (round, len) in lengths.into_iter().enumerate() {
        for offset in [0, 4, 512, 4092] {
            let data = pattern((round * 8 + offset) as u64, len);
            from.write(offset, &data).unwrap();
            let blocks = (len / 512) as u32;
            let lba = 100 + offset as u64;
            let write = Command::Write {
                namespace: SMALL,
                lba,
                blocks,
                buffer: &from,
                offset,
                durable: round % 2 == 0,
            };
            queue.execute(&write).unwrap();
            let read = Command::Read { namespace: SMALL, lba, blocks, buffer: &to, offset: 4096 - offset };
            queue.execute(&read).unwrap();
            assert_eq!(contents(&to, 4096 - offset, len), data, "{len} bytes at {offset}");
        }
    }
}

#[test]
fn a_controller_and_its_namespaces_are_identified() {
    let (nvme, _) = opened(model(), options(Wait::Poll));
    let info = nvme.controller();
    assert_eq!(
        (info.model.as_str(), info.serial.as_str()),
        ("Nitride NVMe Controller", "NITRIDE0000000000002")
    );
    assert_eq!((info.max_transfer, info.queue_entries, info.namespaces), (1 << 20, 1024, 4));
    let namespaces: Vec<_> =
        nvme.namespaces().iter().map(|n| (n.id, n.blocks, n.block_size(), n.read_only)).collect();
    assert_eq!(namespaces, [(1, 16384, 512, false), (2, 1024, 4096, false), (4, 64, 512, true)]);
}

#[test]
fn data_survives_every_prp_shape_when_polling() {
    let model = model();
    let (nvme, queue) = opened(model.clone(), options(Wait::Poll));
    check_data(&nvme, &queue);
    let medium =
        model.with_controller(|c| c.namespaces[0].as_ref().unwrap().data()[100 * 512..101 * 512].to_vec());
    assert_eq!(medium, pattern(7 * 8, 512));
}

#[test]
fn data_survives_every_prp_shape_with_interrupts_over_vfio_user() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("function.sock");
    let server = ReferenceServer::bind(&socket, model()).unwrap();
    let server = thread::spawn(move || server.serve().unwrap());
    let function = Arc::new(VfioUser::open(&socket).unwrap());
    let nvme = Nvme::open(function, Options::default()).unwrap();
    check_data(&nvme, &nvme.queue_pair(0).unwrap());
    drop(nvme);
    server.join().unwrap();
}

#[test]
fn zeroes_and_deallocation_leave_the_neighbours_alone() {
    let (nvme, queue) = opened(model(), options(Wait::Poll));
    let buffer = nvme.allocate(64 << 10).unwrap();
    buffer.write(0, &vec![0xff; 64 << 10]).unwrap();
    let write =
        Command::Write { namespace: LARGE, lba: 0, blocks: 16, buffer: &buffer, offset: 0, durable: false };
    queue.execute(&write).unwrap();
    queue.execute(&Command::WriteZeroes { namespace: LARGE, lba: 1, blocks: 2 }).unwrap();
    queue.execute(&Command::Deallocate { namespace: LARGE, ranges: &[(5, 1), (8, 3)] }).unwrap();
    queue.execute(&Command::Flush { namespace: LARGE }).unwrap();
    queue
        .execute(&Command::Read { namespace: LARGE, lba: 0, blocks: 16, buffer: &buffer, offset: 0 })
        .unwrap();
    let zero: Vec<_> = (0..16).filter(|block| contents(&buffer, block * 4096, 4096) == [0; 4096]).collect();
    assert_eq!(zero, [1, 2, 5, 8, 9, 10]);
}

#[test]
fn errors_carry_the_status_in_words() {
    let (nvme, queue) = opened(model(), options(Wait::Poll));
    let buffer = nvme.allocate(4096).unwrap();
    let read = |namespace, lba| Command::Read { namespace, lba, blocks: 8, buffer: &buffer, offset: 0 };
    assert_eq!(status(queue.execute(&read(SMALL, 16384 - 7))), Status::LBA_OUT_OF_RANGE);
    assert_eq!(status(queue.execute(&read(3, 0))), Status::INVALID_FIELD);
    assert_eq!(status(queue.execute(&read(9, 0))), Status::INVALID_NAMESPACE);
    let write = Command::Write {
        namespace: READ_ONLY,
        lba: 0,
        blocks: 1,
        buffer: &buffer,
        offset: 0,
        durable: false,
    };
    let error = queue.execute(&write).unwrap_err().to_string();
    assert_eq!(error, "write: Namespace is Write Protected (type 0, code 20h, do not retry)");
    let long = Command::Read { namespace: SMALL, lba: 0, blocks: 2049, buffer: &buffer, offset: 0 };
    assert!(matches!(queue.execute(&long), Err(Error::Invalid { .. })));
    assert!(matches!(
        queue.execute(&Command::Read { namespace: SMALL, lba: 0, blocks: 9, buffer: &buffer, offset: 0 }),
        Err(Error::Invalid { .. })
    ));
    // None of them took a slot with it.
    assert_eq!(queue.in_use(), 0);
}

#[test]
fn a_full_queue_says_so_and_drains_in_poll_mode() {
    let small = Options { queue_entries: 8, ..options(Wait::Poll) };
    let (nvme, queue) = opened(model(), small);
    assert_eq!(queue.depth(), 7);
    let buffer = nvme.allocate(4096 * 7).unwrap();
    let (mut submitted, mut ended) = (0u64, 0);
    while ended < 1000 {
        let lba = 8 * (submitted % 2000);
        let command = Command::Read { namespace: SMALL, lba, blocks: 8, buffer: &buffer, offset: 0 };
        if submitted < 1000 && queue.submit(&command).unwrap().is_some() {
            submitted += 1;
            continue;
        }
        assert!(submitted == 1000 || queue.in_use() == 7);
        ended += queue.poll(|_, outcome| assert_eq!(outcome.unwrap(), 0)).unwrap();
    }
    assert_eq!((submitted, queue.in_use()), (1000, 0));
}

#[test]
fn all_queue_pairs_work_at_once() {
    let many = Options { queue_pairs: 99, ..options(Wait::Interrupt) };
    let (nvme, _) = opened(model(), many);
    assert_eq!(nvme.queue_pairs(), 7);
    thread::scope(|scope| {
        for index in 0..7 {
            let (nvme, queue) = (&nvme, nvme.queue_pair(index).unwrap());
            scope.spawn(move || {
                let buffer = nvme.allocate(8192).unwrap();
                for turn in 0..50 {
                    let lba = index as u64 * 1000 + turn * 8;
                    let data = pattern(lba, 4096);
                    buffer.write(0, &data).unwrap();
                    let write = Command::Write {
                        namespace: SMALL,
                        lba,
                        blocks: 8,
                        buffer: &buffer,
                        offset: 0,
                        durable: false,
                    };
                    queue.execute(&write).unwrap();
                    let read =
                        Command::Read { namespace: SMALL, lba, blocks: 8, buffer: &buffer, offset: 4096 };
                    queue.execute(&read).unwrap();
                    assert_eq!(contents(&buffer, 4096, 4096), data);
                }
            });
        }
    });
}

#[test]
fn a_command_without_an_answer_ends_in_a_reset_after_which_all_queues_work() {
    for wait in [Wait::Poll, Wait::Interrupt] {
        let model = model();
        let (nvme, queue) = opened(model.clone(), Options { queue_pairs: 2, ..options(wait) });
        let other = nvme.queue_pair(1).unwrap();
        model.with_controller(Controller::hang_until_reset);
        let flush = Command::Flush { namespace: SMALL };
        let waiting = other.submit(&flush).unwrap().unwrap();
        assert!(matches!(queue.execute(&flush), Err(Error::Reset { command: "flush" })));
        assert_eq!(nvme.resets(), 1);
        let mut ended = Vec::new();
        other.poll(|tag, outcome| ended.push((tag, matches!(outcome, Err(Error::Reset { .. }))))).unwrap();
        assert_eq!(ended, [(waiting, true)]);
        check_data(&nvme, &queue);
        check_data(&nvme, &other);
        assert_eq!(nvme.resets(), 1);
    }
}

#[test]
fn a_command_that_is_held_is_aborted_and_nothing_else_is_disturbed() {
    for wait in [Wait::Poll, Wait::Interrupt] {
        let model = model();
        let (nvme, queue) = opened(model.clone(), options(wait));
        model.with_controller(Controller::hold_until_abort);
        let outcome = queue.execute(&Command::Flush { namespace: SMALL });
        assert!(matches!(outcome, Err(Error::Aborted { command: "flush", .. })), "{outcome:?}");
        assert_eq!((nvme.resets(), queue.in_use()), (0, 0));
    }
}

#[test]
fn a_fatal_controller_is_noticed_and_a_reset_brings_it_back() {
    let model = model();
    let (nvme, queue) = opened(model.clone(), options(Wait::Poll));
    // Without bus mastering the controller cannot fetch.
    model.config_write(4, &[0x02, 0]).unwrap();
    let outcome = queue.execute(&Command::Flush { namespace: SMALL });
    assert!(outcome.is_err());
    assert!(nvme.is_fatal().unwrap() || nvme.resets() == 1);
    model.config_write(4, &[0x06, 0]).unwrap();
    nvme.reset().unwrap();
    queue.execute(&Command::Flush { namespace: SMALL }).unwrap();
}

#[test]
fn admin_commands_of_the_caller_work_beside_io() {
    let (nvme, _) = opened(model(), options(Wait::Poll));
    let bad = Sqe { opcode: 0x7e, ..Sqe::default() };
    assert_eq!(status(nvme.admin(bad, None)), Status::INVALID_OPCODE);
    let buffer = nvme.allocate(4096).unwrap();
    let log =
        Sqe { opcode: admin::GET_LOG_PAGE, nsid: !0, cdw10: [0x007f_0002, 0, 0, 0, 0, 0], ..Sqe::default() };
    nvme.admin(log, Some(&buffer)).unwrap();
    assert_eq!(contents(&buffer, 1, 2), [0x36, 0x01]);
}

#[test]
fn after_shutdown_the_data_is_there_for_the_next_driver() {
    let model = model();
    let (nvme, queue) = opened(model.clone(), options(Wait::Poll));
    let buffer = nvme.allocate(4096).unwrap();
    buffer.write(0, &[7; 512]).unwrap();
    let write =
        Command::Write { namespace: SMALL, lba: 3, blocks: 1, buffer: &buffer, offset: 0, durable: false };
    queue.execute(&write).unwrap();
    nvme.shutdown().unwrap();
    drop((queue, buffer));
    let (nvme, queue) = opened(model, options(Wait::Poll));
    let buffer = nvme.allocate(4096).unwrap();
    queue
        .execute(&Command::Read { namespace: SMALL, lba: 3, blocks: 1, buffer: &buffer, offset: 0 })
        .unwrap();
    assert_eq!(contents(&buffer, 0, 512), [7; 512]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_futures_than_slots_all_end_with_their_data() {
    let small = Options { queue_entries: 8, ..options(Wait::Interrupt) };
    let (nvme, queue) = opened(model(), small);
    let queue = Arc::new(AsyncQueue::new(queue).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..64u64 {
        let (queue, buffer) = (queue.clone(), nvme.allocate(8192).unwrap());
        tasks.spawn(async move {
            let data = pattern(index, 4096);
            buffer.write(0, &data).unwrap();
            let lba = index * 8;
            let write = Command::Write {
                namespace: SMALL,
                lba,
                blocks: 8,
                buffer: &buffer,
                offset: 0,
                durable: false,
            };
            queue.execute(&write).await.unwrap();
            let read = Command::Read { namespace: SMALL, lba, blocks: 8, buffer: &buffer, offset: 4096 };
            queue.execute(&read).await.unwrap();
            assert_eq!(contents(&buffer, 4096, 4096), data);
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_without_an_answer_ends_in_a_reset() {
    let model = model();
    let (nvme, queue) = opened(model.clone(), options(Wait::Interrupt));
    let queue = AsyncQueue::new(queue).unwrap();
    model.with_controller(Controller::hang_until_reset);
    let flush = Command::Flush { namespace: SMALL };
    assert!(matches!(queue.execute(&flush).await, Err(Error::Reset { .. })));
    assert_eq!(nvme.resets(), 1);
    queue.execute(&flush).await.unwrap();
}
