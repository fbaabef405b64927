//! `--on sim`: two network functions of a card that is simulated in this process.

use std::sync::Arc;

use anyhow::Result;
use nitride_abi::card::{PF_MANAGEMENT, VF_NETWORK_FIRST};
use nitride_driver::Function;
use nitride_driver::management::{Assignment, Management, Port};
use nitride_sim::{Card, Options, Simulator};

/// The card's first two network VFs, in one network. The card lives as long as they.
pub fn functions() -> Result<[Arc<dyn Function>; 2]> {
    let simulator = Simulator::start(Box::new(Card::new()), Options::default())?;
    let card = Management::open(Arc::new(simulator.endpoint(PF_MANAGEMENT)?))?;
    // Device 0 is the PF.
    for device in [1, 2] {
        let mac = [0x02, 0x4e, 0x54, 0, 0, device];
        let port = Port { enabled: true, mac: Some(mac), ..Port::default() };
        card.place(device, port, Assignment { mac, mtu: 1500, link_up: true, announce: false })?;
    }
    card.set_members(0, 0b110)?;
    let endpoint = |vf: u8| simulator.endpoint(VF_NETWORK_FIRST + vf);
    Ok([Arc::new(endpoint(0)?), Arc::new(endpoint(1)?)])
}
