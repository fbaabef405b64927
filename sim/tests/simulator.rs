//! A simulation on its thread, and functions as a process gets them.

mod responder;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nitride_driver::{Access, Error, Function, Memory};
use nitride_sim::{Endpoint, Options, Simulator};
use responder::*;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

fn start() -> Simulator {
    Simulator::start(Responder::new(), Options { seed: 1, ..Options::default() }).unwrap()
}

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// Takes the events of a descriptor, waiting for the first for at most 20 seconds.
fn events(fd: &OwnedFd) -> u64 {
    let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
    let mut ready = [PollFd::new(fd, PollFlags::IN)];
    assert_eq!(poll(&mut ready, Some(&timeout)), Ok(1), "no interrupt came");
    pending(fd)
}

fn pending(fd: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    rustix::io::read(fd, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
}

fn read(endpoint: &Endpoint, offset: u64) -> u32 {
    let mut data = [0; 4];
    endpoint.bar_read(0, offset, &mut data).unwrap();
    u32::from_le_bytes(data)
}

fn config(endpoint: &Endpoint, offset: u16) -> u32 {
    let mut data = [0; 4];
    endpoint.config_read(offset, &mut data).unwrap();
    u32::from_le_bytes(data)
}

fn go(endpoint: &Endpoint, command: u32, address: u64, len: u32) {
    endpoint.bar_write(0, ADDRESS, &address.to_le_bytes()).unwrap();
    endpoint.bar_write(0, LENGTH, &len.to_le_bytes()).unwrap();
    endpoint.bar_write(0, COMMAND, &command.to_le_bytes()).unwrap();
}

fn bus_master(endpoint: &Endpoint) {
    endpoint.config_write(4, &6u16.to_le_bytes()).unwrap();
}

#[test]
fn a_vf_has_the_config_space_that_a_driver_expects() {
    let simulator = start();
    let endpoint = simulator.endpoint(VF0).unwrap();
    assert_eq!(config(&endpoint, 0), u32::from(DEVICE_VF) << 16 | u32::from(VENDOR));
    assert_eq!(endpoint.info().msix_vectors, VECTORS);
    assert_eq!(endpoint.info().bars[0].unwrap().size, 0x4000);
    // BARs are sized and placed by the user, and only seem to move.
    endpoint.config_write(0x10, &u32::MAX.to_le_bytes()).unwrap();
    endpoint.config_write(0x14, &u32::MAX.to_le_bytes()).unwrap();
    assert_eq!((config(&endpoint, 0x10), config(&endpoint, 0x14)), (0xffff_c00c, u32::MAX));
    endpoint.config_write(0x10, &0xc000_0000u32.to_le_bytes()).unwrap();
    endpoint.config_write(0x13, &[0xd0]).unwrap();
    assert_eq!(config(&endpoint, 0x10), 0xd000_000c);
    assert_eq!(config(&endpoint, 0x18), 0);
    // Memory space enable is virtual, bus master enable is the function's.
    endpoint.config_write(4, &6u16.to_le_bytes()).unwrap();
    assert_eq!(config(&endpoint, 4) & 0xffff, 6);
    let real = simulator.with(|system| {
        let ticket = system.config_read(VF0, 4, 2);
        system.wait(ticket).unwrap()
    });
    assert_eq!(real.unwrap(), [4, 0]);
    // The whole space in one read is what its parts are.
    let mut whole = vec![0; 4096];
    endpoint.config_read(0, &mut whole).unwrap();
    for offset in [0, 4, 0x10, 0x34, 0x40, 0x80, 0x140] {
        assert_eq!(whole[offset..offset + 4], config(&endpoint, offset as u16).to_le_bytes());
    }
    let mut odd = [0; 7];
    endpoint.config_read(0x0f, &mut odd).unwrap();
    assert_eq!(odd, whole[0x0f..0x16]);
}

#[test]
fn what_a_user_must_not_touch_stays_as_it_is() {
    let simulator = start();
    let endpoint = simulator.endpoint(PF2).unwrap();
    let (control, sriov) = (config(&endpoint, 0x48), config(&endpoint, 0x188));
    endpoint.config_write(0x48, &0x7fe0u16.to_le_bytes()).unwrap();
    endpoint.config_write(0x188, &[0]).unwrap();
    endpoint.config_write(0x82, &0xc000u16.to_le_bytes()).unwrap();
    endpoint.config_write(0x10, &[0; 8]).unwrap();
    endpoint.config_write(0xa4, &[3]).unwrap();
    assert_eq!(config(&endpoint, 0x48) & 0xf7e0, control & 0xf7e0, "payload and request sizes");
    assert_eq!(config(&endpoint, 0x188), sriov, "VF enable");
    assert_eq!(config(&endpoint, 0x80) >> 30, 0, "MSI-X enable");
    assert_eq!(config(&endpoint, 0xa4) & 3, 3, "the power state seems to be what was written");
    endpoint.bar_write(0, TABLE, &[0xff; 8]).unwrap();
    assert_eq!(read(&endpoint, TABLE), 0, "the MSI-X table");
}

#[test]
fn impossible_accesses_are_refused() {
    let simulator = start();
    let endpoint = simulator.endpoint(VF0).unwrap();
    let out = |result: nitride_driver::Result<()>| {
        assert!(matches!(result, Err(Error::OutOfRange { .. })), "{result:?}");
    };
    out(endpoint.bar_read(1, 0, &mut [0; 4]));
    out(endpoint.bar_read(9, 0, &mut [0; 4]));
    out(endpoint.bar_read(0, 0, &mut [0; 3]));
    out(endpoint.bar_read(0, 2, &mut [0; 4]));
    out(endpoint.bar_read(0, 0x4000, &mut [0; 4]));
    out(endpoint.bar_write(0, u64::MAX - 7, &[0; 8]));
    out(endpoint.config_read(4095, &mut [0; 2]));
    out(endpoint.config_write(4096, &[0; 1]));
    let memory = Arc::new(Memory::new("refused", 8192, false).unwrap());
    out(endpoint.dma_map(0x800, memory.clone(), Access::Read));
    endpoint.dma_map(0, memory.clone(), Access::Read).unwrap();
    out(endpoint.dma_map(0x1000, memory, Access::Read));
    out(endpoint.dma_unmap(0, 4096));
    let event = event();
    out(endpoint.set_msix(&[Some(event.as_fd()); 5]));
    assert!(simulator.endpoint(9).is_err());
}

#[test]
fn dma_and_interrupts_reach_the_function_that_asked() {
    let simulator = start();
    let functions: Vec<_> =
        [VF0, VF1].into_iter().map(|number| simulator.endpoint(number).unwrap()).collect();
    std::thread::scope(|scope| {
        for (endpoint, fill) in functions.iter().zip([0x11u8, 0x22]) {
            scope.spawn(move || {
                let memory = Arc::new(Memory::new("dma", 8192, false).unwrap());
                endpoint.dma_map(0x10_0000, memory.clone(), Access::ReadWrite).unwrap();
                bus_master(endpoint);
                let (first, second) = (event(), event());
                endpoint.set_msix(&[Some(first.as_fd()), None, Some(second.as_fd())]).unwrap();
                for round in 0..10u8 {
                    assert!(memory.write(0, &[fill + round; 2000]));
                    go(endpoint, READ, 0x10_0000, 2000);
                    assert_eq!(events(&first), 1);
                    go(endpoint, WRITE | 2 << 8, 0x10_1000, 2000);
                    assert_eq!(events(&second), 1);
                    let mut got = [0; 2000];
                    assert!(memory.read(4096, &mut got));
                    assert!(got.iter().all(|byte| *byte == fill + round));
                }
                endpoint.set_msix(&[]).unwrap();
                go(endpoint, WRITE, 0x10_1000, 4);
                assert_eq!(read(endpoint, ENDED), 21);
                assert_eq!((pending(&first), pending(&second)), (0, 0));
            });
        }
    });
    let counters = simulator.counters().unwrap();
    for number in [VF0, VF1] {
        let function = &counters.functions[usize::from(number)];
        assert_eq!((function.dma_read_bytes, function.dma_write_bytes), (20_000, 20_004));
        assert_eq!((function.interrupts, function.interrupts_lost, function.faults), (20, 0, 0));
    }
    assert_eq!(counters.violations, 0);
}

#[test]
fn a_vector_that_changes_its_target_loses_no_other() {
    let simulator = start();
    let endpoint = simulator.endpoint(VF0).unwrap();
    bus_master(&endpoint);
    let (a, b, c) = (event(), event(), event());
    endpoint.set_msix(&[Some(a.as_fd()), Some(b.as_fd())]).unwrap();
    endpoint.set_msix(&[Some(c.as_fd()), Some(b.as_fd())]).unwrap();
    go(&endpoint, READ, 0, 4);
    assert_eq!(events(&c), 1);
    go(&endpoint, WRITE | 1 << 8, 0, 4);
    assert_eq!((events(&b), pending(&a)), (1, 0));
    endpoint.set_msix(&[None, Some(b.as_fd())]).unwrap();
    go(&endpoint, WRITE, 0, 4);
    go(&endpoint, WRITE | 1 << 8, 0, 4);
    assert_eq!((events(&b), pending(&c)), (1, 0));
    assert_eq!(
        simulator.counters().unwrap().functions[usize::from(VF0)].interrupts_lost,
        0,
        "it is masked in the table"
    );
}

#[test]
fn a_descriptor_that_takes_no_event_does_not_hold_up_the_simulation() {
    let simulator = start();
    let endpoint = simulator.endpoint(VF0).unwrap();
    bus_master(&endpoint);
    let (_reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::io::fcntl_setfd(&writer, rustix::io::FdFlags::CLOEXEC).unwrap();
    while poll(&mut [PollFd::new(&writer, PollFlags::OUT)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
        == Ok(1)
    {
        rustix::io::write(&writer, &[0; 4096]).unwrap();
    }
    endpoint.set_msix(&[Some(writer.as_fd())]).unwrap();
    go(&endpoint, WRITE, 0, 4);
    assert_eq!(read(&endpoint, ENDED), 1);
    assert_eq!(simulator.counters().unwrap().functions[usize::from(VF0)].interrupts_lost, 1);
}

#[test]
fn a_reset_by_either_way_clears_the_function_and_leaves_the_others() {
    let simulator = start();
    let (endpoint, other) = (simulator.endpoint(VF0).unwrap(), simulator.endpoint(VF1).unwrap());
    for flr in [false, true] {
        bus_master(&endpoint);
        let event = event();
        endpoint.set_msix(&[Some(event.as_fd())]).unwrap();
        endpoint.bar_write(0, BUFFER, &[7; 4]).unwrap();
        other.bar_write(0, BUFFER, &[8; 4]).unwrap();
        endpoint.config_write(0x10, &[0, 0, 0, 0xd0]).unwrap();
        if flr {
            endpoint.config_write(0x48, &0x8000u16.to_le_bytes()).unwrap();
        } else {
            endpoint.reset().unwrap();
        }
        assert_eq!((read(&endpoint, BUFFER), read(&other, BUFFER)), (0, 0x0808_0808));
        assert_eq!((config(&endpoint, 4) & 0xffff, config(&endpoint, 0x10)), (0, 0xc));
        assert_eq!(config(&endpoint, 0x80) >> 30, 0);
        // It is programmed anew after the reset, not taken for programmed.
        bus_master(&endpoint);
        endpoint.set_msix(&[Some(event.as_fd())]).unwrap();
        go(&endpoint, WRITE, 0, 4);
        assert_eq!(events(&event), 1);
    }
}

#[test]
fn a_dropped_endpoint_leaves_no_way_into_its_memory() {
    let simulator = start();
    let endpoint = simulator.endpoint(VF0).unwrap();
    let memory = Arc::new(Memory::new("dropped", 4096, false).unwrap());
    endpoint.dma_map(0, memory.clone(), Access::ReadWrite).unwrap();
    bus_master(&endpoint);
    drop(endpoint);
    assert_eq!(Arc::strong_count(&memory), 1);
    let endpoint = simulator.endpoint(VF0).unwrap();
    go(&endpoint, WRITE, 0, 4);
    assert_eq!(read(&endpoint, ENDED), 0, "bus mastering has ended");
}

#[test]
fn an_idle_simulation_takes_no_cycles_and_wakes_at_once() {
    let simulator = start();
    let endpoint = simulator.endpoint(VF0).unwrap();
    read(&endpoint, ENDED);
    // What is read last may still be settling; after it nothing moves.
    let settled = loop {
        let before = simulator.counters().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        if simulator.counters().unwrap() == before {
            break before;
        }
    };
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(simulator.counters().unwrap(), settled);
    read(&endpoint, ENDED);
    let woken = simulator.counters().unwrap();
    assert!(
        (1..100).contains(&(woken.simulated - settled.simulated)),
        "{}",
        woken.simulated - settled.simulated
    );
    assert!(simulator.speed().unwrap().kilohertz() > 0.0);
}

#[test]
fn posted_writes_do_not_wait_and_arrive_in_order() {
    let simulator = start();
    let endpoint = simulator.endpoint(VF0).unwrap();
    for value in 0..5000u32 {
        endpoint.bar_write(0, BUFFER, &value.to_le_bytes()).unwrap();
    }
    assert_eq!(read(&endpoint, BUFFER), 4999, "a read pushes the writes ahead of it");
}

#[test]
fn after_a_stop_everything_says_that_the_card_is_gone() {
    let simulator = start();
    let endpoint = simulator.endpoint(VF0).unwrap();
    let clone = simulator.clone();
    let busy = std::thread::spawn(move || {
        let endpoint = clone.endpoint(VF1).unwrap();
        while endpoint.bar_read(0, ENDED, &mut [0; 4]).is_ok() {}
    });
    simulator.stop();
    busy.join().unwrap();
    assert!(matches!(endpoint.bar_read(0, 0, &mut [0; 4]), Err(Error::Gone { .. })));
    assert!(matches!(endpoint.bar_write(0, 0, &[0; 4]), Err(Error::Gone { .. })));
    assert!(matches!(endpoint.reset(), Err(Error::Gone { .. })));
    assert!(simulator.counters().is_err());
    simulator.stop();
}
