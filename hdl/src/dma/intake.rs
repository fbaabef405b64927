//! The engines' front door.

use nitride_lang::prelude::*;

use super::CLIENTS;
use super::splitter::Transfer;

/// Merges the clients' requests, round robin.
///
/// Latency 1 cycle, a request every other cycle. It holds one request, so a request is never behind more than the one
/// being cut, the one held here, and one of each other client.
#[derive(LogicBlock, Default)]
pub struct Intake {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The clients' requests; `client` is filled in here.
    pub request: [Sink<Transfer>; CLIENTS],
    /// The merged stream.
    pub source: Source<Transfer>,
    arbiter: StreamArbiter<Transfer, CLIENTS>,
    held: RegFifo<Transfer, 1>,
}

impl Logic for Intake {
    #[hdl]
    fn update(&mut self) {
        for i in 0..CLIENTS {
            self.arbiter.sink[i].data.next =
                Transfer { client: bits::<3>(i as u64), ..self.request[i].data.val() };
            self.arbiter.sink[i].valid.next = self.request[i].valid.val();
            self.request[i].ready.next = self.arbiter.sink[i].ready.val();
        }
        self.arbiter.last.next = !bits::<CLIENTS>(0);
        self.arbiter.source.join(&mut self.held.sink);
        self.source.link(&mut self.held.source);
    }
}
