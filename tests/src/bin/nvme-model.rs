//! Serves the NVMe reference model as one function on a vfio-user socket, for one client:
//! `nvme-model SOCKET MIB`. A machine can boot with it where there is no card.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use nitride_abi::card::PF_STORAGE;
use nitride_tests::nvme_model::{Controller, ModelFunction, Namespace};
use nitride_tests::reference_server::ReferenceServer;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, mib] = arguments.as_slice() else {
        eprintln!("usage: nvme-model SOCKET MIB");
        return ExitCode::from(2);
    };
    let Ok(mib) = mib.parse::<u64>() else {
        eprintln!("nvme-model: `{mib}` is not a number of MiB");
        return ExitCode::from(2);
    };
    let blocks = mib.saturating_mul(2048);
    let namespaces = [Some(Namespace::new(blocks, 0)), None, None, None];
    let function = Arc::new(ModelFunction::new("model", Controller::new(PF_STORAGE, namespaces)));
    match ReferenceServer::bind(Path::new(socket), function).and_then(|server| server.serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nvme-model: {socket}: {error}");
            ExitCode::FAILURE
        }
    }
}
