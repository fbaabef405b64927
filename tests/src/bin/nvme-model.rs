//! `nvme-model SOCKET IMAGE`: the NVMe reference model as a function on a vfio-user socket, in place of a card.
//!
//! It serves one client, on a copy of the image in memory, which is written back when the client hangs up.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use nitride_tests::nvme_model::{Controller, ModelFunction, Namespace};
use nitride_tests::reference_server::ReferenceServer;

/// PF2, the storage function.
const FUNCTION: u8 = 2;

/// LBA format 0: 512 bytes.
const FORMAT: u8 = 0;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [socket, image] = arguments.as_slice() else {
        eprintln!("usage: nvme-model SOCKET IMAGE");
        return ExitCode::from(2);
    };
    match serve(socket, image) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nvme-model: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(socket: &Path, image: &Path) -> Result<(), Box<dyn Error>> {
    let data = std::fs::read(image).map_err(|error| format!("cannot read {}: {error}", image.display()))?;
    let mut namespaces = std::array::from_fn(|_| None);
    namespaces[0] = Some(Namespace::with_data(data, FORMAT));
    let function = Arc::new(ModelFunction::new("model", Controller::new(FUNCTION, namespaces)));
    ReferenceServer::bind(socket, function.clone())?.serve()?;
    function.with_controller(|controller| {
        let namespace = controller.namespaces[0].as_ref().ok_or("the namespace is gone")?;
        Ok(std::fs::write(image, namespace.data())?)
    })
}
