use nitride_abi::card::PF_STORAGE;
use nitride_abi::nvme::command::{admin, identify, io};
use nitride_abi::nvme::register::{self, cq_head_doorbell, sq_tail_doorbell};
use nitride_abi::nvme::{CQE_BYTES, Cqe, SQE_BYTES, Sqe, Status, identify_controller};

use crate::nvme_model::{Controller, FlatMemory, Namespace};

const ASQ: u64 = 0x1_0000;
const ACQ: u64 = 0x2_0000;
const SQ: u64 = 0x3_0000;
const CQ: u64 = 0x4_0000;
const DATA: u64 = 0x8_0000;

/// A controller with an admin queue and one I/O queue pair of 4 entries each.
struct Host {
    controller: Controller,
    memory: FlatMemory,
    tails: [u32; 2],
    heads: [u32; 2],
}

impl Host {
    fn enabled() -> Self {
        let namespaces = [Some(Namespace::new(4096, 0)), None, Some(Namespace::new(64, 1).read_only()), None];
        let controller = Controller::new(PF_STORAGE, namespaces);
        let mut host =
            Self { controller, memory: FlatMemory(vec![0; 2 << 20]), tails: [0; 2], heads: [0; 2] };
        host.write(register::AQA, 0x0003_0003);
        host.write(register::ASQ, ASQ as u32);
        host.write(register::ACQ, ACQ as u32);
        host.write(register::CC, 0x0046_0001);
        host
    }

    fn with_queue() -> Self {
        let mut host = Self::enabled();
        let create = |opcode, prp1, cdw11| Sqe {
            opcode,
            prp1,
            cdw10: [0x0003_0001, cdw11, 0, 0, 0, 0],
            ..Sqe::default()
        };
        assert_eq!(host.run(0, create(admin::CREATE_CQ, CQ, 0x0001_0003)).status, Status::SUCCESS);
        assert_eq!(host.run(0, create(admin::CREATE_SQ, SQ, 0x0001_0001)).status, Status::SUCCESS);
        host
    }

    fn read(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.controller.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn write(&mut self, offset: u64, value: u32) {
        self.controller.write(offset, &value.to_le_bytes(), &mut self.memory);
    }

    fn put(&mut self, queue: usize, sqe: Sqe) {
        let at = [ASQ, SQ][queue] as usize + self.tails[queue] as usize * SQE_BYTES;
        self.memory.0[at..at + SQE_BYTES].copy_from_slice(&sqe.to_bytes());
        self.tails[queue] = (self.tails[queue] + 1) % 4;
    }

    fn take(&mut self, queue: usize) -> Cqe {
        let at = [ACQ, CQ][queue] as usize + self.heads[queue] as usize * CQE_BYTES;
        self.heads[queue] = (self.heads[queue] + 1) % 4;
        Cqe::from_bytes(self.memory.0[at..at + CQE_BYTES].try_into().unwrap())
    }

    fn run(&mut self, queue: usize, sqe: Sqe) -> Cqe {
        self.put(queue, sqe);
        self.write(sq_tail_doorbell(queue as u16), self.tails[queue]);
        let cqe = self.take(queue);
        self.write(cq_head_doorbell(queue as u16), self.heads[queue]);
        cqe
    }

    fn rw(&mut self, opcode: u8, nsid: u32, slba: u32, blocks: u32) -> Status {
        let cdw10 = [slba, 0, blocks - 1, 0, 0, 0];
        self.run(1, Sqe { opcode, nsid, prp1: DATA, prp2: DATA + 4096, cdw10, ..Sqe::default() }).status
    }
}

#[test]
fn identify_controller_lands_in_host_memory() {
    let mut host = Host::enabled();
    assert_eq!(host.read(register::CSTS), 1);
    let cdw10 = [identify::CNS_CONTROLLER as u32, 0, 0, 0, 0, 0];
    let sqe = Sqe { opcode: admin::IDENTIFY, cid: 77, prp1: DATA, cdw10, ..Sqe::default() };
    let cqe = host.run(0, sqe);
    assert_eq!((cqe.status, cqe.cid, cqe.sq_head, cqe.phase), (Status::SUCCESS, 77, 1, true));
    assert_eq!(host.memory.0[DATA as usize..][..4096], identify_controller(PF_STORAGE));
    assert_eq!(host.controller.take_interrupts(), 1);
}

#[test]
fn written_blocks_are_read_back_and_the_rest_stays() {
    let mut host = Host::with_queue();
    host.controller.take_interrupts();
    host.memory.0[DATA as usize..][..8192].fill(0xa5);
    assert_eq!(host.rw(io::WRITE, 1, 100, 16), Status::SUCCESS);
    host.memory.0[DATA as usize..][..8192].fill(0);
    assert_eq!(host.rw(io::READ, 1, 99, 16), Status::SUCCESS);
    let read = &host.memory.0[DATA as usize..][..8192];
    assert!(read[..512].iter().all(|byte| *byte == 0) && read[512..].iter().all(|byte| *byte == 0xa5));
    assert_eq!(host.controller.take_interrupts(), 0b10);
}

#[test]
fn bad_commands_get_the_documented_status() {
    let mut host = Host::with_queue();
    assert_eq!(host.rw(io::READ, 0, 0, 1), Status::INVALID_NAMESPACE);
    assert_eq!(host.rw(io::READ, 5, 0, 1), Status::INVALID_NAMESPACE);
    assert_eq!(host.rw(io::READ, 2, 0, 1), Status::INVALID_FIELD);
    assert_eq!(host.rw(io::READ, 1, 4096, 1), Status::LBA_OUT_OF_RANGE);
    assert_eq!(host.rw(io::READ, 1, 4095, 2), Status::LBA_OUT_OF_RANGE);
    assert_eq!(host.rw(io::READ, 1, 0, 2049), Status::INVALID_FIELD);
    assert_eq!(host.rw(io::WRITE, 3, 0, 1), Status::WRITE_PROTECTED);
    assert_eq!(host.rw(0x7f, 1, 0, 1), Status::INVALID_OPCODE);
}

#[test]
fn a_full_completion_queue_holds_commands_back_until_its_head_moves() {
    let mut host = Host::with_queue();
    for turn in 0..2 {
        for _ in 0..3 {
            host.put(1, Sqe { opcode: io::FLUSH, nsid: 1, cid: turn, ..Sqe::default() });
        }
        host.write(sq_tail_doorbell(1), host.tails[1]);
    }
    // Three of the six fit into a completion queue of four entries.
    let phases: Vec<_> = (0..3).map(|_| host.take(1)).map(|cqe| (cqe.cid, cqe.phase)).collect();
    assert_eq!(phases, [(0, true); 3]);
    assert!(!host.take(1).phase);
    host.heads[1] = 3;
    host.write(cq_head_doorbell(1), 3);
    let phases: Vec<_> = (0..3).map(|_| host.take(1)).map(|cqe| (cqe.cid, cqe.phase)).collect();
    assert_eq!(phases, [(1, true), (1, false), (1, false)]);
}

#[test]
fn controller_reset_forgets_queues_and_keeps_the_admin_queue_registers() {
    let mut host = Host::with_queue();
    host.write(register::CC, 0x0046_0000);
    assert_eq!((host.read(register::CSTS), host.read(register::ASQ)), (0, ASQ as u32));
    host.write(register::CC, 0x0046_0001);
    host.tails = [0; 2];
    host.heads = [0; 2];
    let delete = Sqe { opcode: admin::DELETE_SQ, cdw10: [1, 0, 0, 0, 0, 0], ..Sqe::default() };
    assert_eq!(host.run(0, delete).status, Status::INVALID_QUEUE_ID);
}

#[test]
fn shutdown_completes_and_stops_the_queues() {
    let mut host = Host::with_queue();
    host.write(register::CC, 0x0046_4001);
    assert_eq!(host.read(register::CSTS), 0b1001);
    host.put(1, Sqe { opcode: io::FLUSH, nsid: 1, cid: 9, ..Sqe::default() });
    host.write(sq_tail_doorbell(1), host.tails[1]);
    assert_ne!(host.take(1).cid, 9);
}

#[test]
fn unsupported_settings_and_unreachable_queues_are_fatal() {
    let mut host = Host::enabled();
    host.write(register::CC, 0);
    host.write(register::CC, 0x0046_0081);
    assert_eq!(host.read(register::CSTS), 0b10);
    host.write(register::CC, 0);
    host.write(register::ASQ + 4, 1);
    host.write(register::CC, 0x0046_0001);
    host.write(sq_tail_doorbell(0), 1);
    assert_eq!(host.read(register::CSTS), 0b11);
}
