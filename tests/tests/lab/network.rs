//! The card's network devices, driven by stock Linux and by our driver through VFIO.

use super::{Card, lab, nitride, text};

/// A card with `tables` in its file, and what `script` says on the lab's Linux, which has `functions` of it as PCI devices from 01:00.0 on and
/// `options` besides.
fn run(tables: &str, functions: &[&str], options: &[&str], script: &str) -> Option<(Card, String)> {
    let card = Card::with(&nitride()?, tables);
    let sockets: Vec<String> = functions.iter().map(|function| card.socket(function)).collect();
    let mut given: Vec<&str> = sockets.iter().flat_map(|socket| ["--function", socket]).collect();
    given.extend(options);
    given.extend(["--", "sh", "-c", script]);
    let output = lab(&given)?;
    let said = text(&output.stdout);
    println!("{said}{}", text(&output.stderr));
    assert!(output.status.success());
    Some((card, said))
}

const NETWORKS: &str = "
[[network]]
function = 'net0'
network = 1
mac = '02:4e:54:00:00:01'
ipv4 = '10.0.0.1'
[[network]]
function = 'net1'
network = 1
mac = '02:4e:54:00:00:02'
mtu = 1400
[[network]]
function = 'pf1'
network = 2
mac = '02:4e:54:00:00:03'
";

#[test]
#[ignore = "boots a machine: 40 s"]
fn lab_linux_reaches_itself_through_the_cards_switch_with_its_own_virtio_net_driver() {
    let said = run(NETWORKS, &["net0", "net1", "pf1"], &[], include_str!("reach.sh"));
    let Some((_, said)) = said else { return };
    for line in [
        "driver: virtio_net",
        "address: 02:4e:54:00:00:02 mtu 1400",
        "10 packets transmitted, 10 packets received",
        "2 packets transmitted, 0 packets received",
        "forth: the same",
        "back: the same",
    ] {
        assert!(said.contains(line), "{line}");
    }
    assert_eq!(
        said.matches("3 packets transmitted, 3 packets received").count(),
        2,
        "down and up; unbound and bound"
    );
}

#[test]
#[ignore = "boots a machine: 40 s"]
fn lab_linux_sets_a_network_device_up_with_its_own_tools() {
    // A port that checks IPv4 takes no tagged frames.
    let tables = NETWORKS.replace("ipv4 = '10.0.0.1'\n", "");
    let Some((_, said)) = run(&tables, &["net0", "net1"], &[], include_str!("tools.sh")) else { return };
    for line in [
        "driver: virtio_net",
        "rx-checksumming: on",
        "tx-checksumming: on",
        "channels: 2 of 2",
        "mtu 1300",
        "mtu 1400 refused",
        "address 02:4e:54:00:00:77, 0 received from there",
        "address 02:4e:54:00:00:01, 3 received from there",
        "vlan: 3 received",
        "promiscuous: on",
        "iperf3: done",
        "receive queues in use: 2",
        "reset under load: the other device goes on",
        "bound again: 3 received",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}");
    }
}

#[test]
#[ignore = "boots a machine in a machine: 60 s"]
fn lab_driver_and_guest_use_the_card_through_vfio() {
    let Some(nitride) = nitride() else { return };
    let disk = "
[[volume]]
name = 'disk'
image = 'disk.img'
size = '32 MiB'
function = 'vf0'
";
    let options = ["--vfio", "--hugepages", "256", "--in", &nitride];
    let tables = format!("{disk}{NETWORKS}");
    let said = run(&tables, &["vf0", "net0", "net1"], &options, include_str!("vfio.sh"));
    let Some((card, said)) = said else { return };
    for line in [
        "written and read: the same",
        "0 lost",
        "guest: the same on the disk",
        "guest: 5 packets transmitted, 5 packets received, 0% packet loss",
    ] {
        assert!(said.contains(line), "{line}");
    }
    // What our driver wrote through VFIO is in the image; block 1000 on is what the guest wrote.
    let image = std::fs::read(card.folder.path().join("disk.img")).unwrap();
    assert!(image[..65536].iter().enumerate().all(|(at, byte)| *byte == b"nitride\n"[at % 8]));
    assert!(image[512_000..][..4096].iter().all(|byte| *byte == b'G'));
}
