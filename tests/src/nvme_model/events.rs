//! Asynchronous events (NVMe 1.4 §5.2).

use std::collections::VecDeque;

use nitride_abi::card::NAMESPACES;
use nitride_abi::nvme::feature::{ASYNC_EVENT_CONFIGURATION, NAMESPACE_NOTICES};
use nitride_abi::nvme::{ASYNC_EVENT_LIMIT, Cqe, Status, event, log};

use super::controller::Controller;
use super::host::HostMemory;
use super::queue::CompletionQueue;

/// A controller's Asynchronous Event Requests, and the events that no request has told yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    /// Command identifiers of the requests, the oldest first.
    pub requests: VecDeque<u16>,
    /// Doorbells of queues that do not exist were written.
    pub invalid_register: bool,
    /// Doorbells were written with a value beyond their queue.
    pub invalid_value: bool,
    namespace_changed: bool,
    errors_masked: bool,
    notices_masked: bool,
    /// The Changed Namespace List.
    pub changed: [bool; NAMESPACES],
}

impl Events {
    /// The data of a log page is collected, whose events it will clear.
    pub fn collect(&mut self, page: u8) {
        match page {
            log::ERROR_INFORMATION => (self.invalid_register, self.invalid_value) = (false, false),
            log::CHANGED_NAMESPACES => self.namespace_changed = false,
            _ => {}
        }
    }

    /// A Get Log Page command without Retain Asynchronous Event succeeded.
    pub fn clear(&mut self, page: u8) {
        match page {
            log::ERROR_INFORMATION => self.errors_masked = false,
            log::CHANGED_NAMESPACES => {
                self.notices_masked = false;
                self.changed = Default::default();
            }
            _ => {}
        }
    }

    /// Takes the event that is to be told next: dword 0 of the request's completion.
    fn take(&mut self) -> Option<u32> {
        if !self.errors_masked && self.invalid_register {
            (self.invalid_register, self.errors_masked) = (false, true);
            Some(event::INVALID_DOORBELL_REGISTER)
        } else if !self.errors_masked && self.invalid_value {
            (self.invalid_value, self.errors_masked) = (false, true);
            Some(event::INVALID_DOORBELL_VALUE)
        } else if !self.notices_masked && self.namespace_changed {
            (self.namespace_changed, self.notices_masked) = (false, true);
            Some(event::NAMESPACE_CHANGED)
        } else {
            None
        }
    }
}

impl Controller {
    /// Asynchronous Event Request.
    pub(super) fn request_event(&mut self, cid: u16) -> Result<Option<u32>, Status> {
        if self.events.requests.len() > ASYNC_EVENT_LIMIT as usize {
            return Err(Status::ASYNC_LIMIT_EXCEEDED);
        }
        self.events.requests.push_back(cid);
        Ok(None)
    }

    /// Ends the request with this command identifier: whether there is one, and a place for its completion.
    pub(super) fn abort_request(&mut self, host: &mut dyn HostMemory, cid: u16) -> bool {
        let Some(index) = self.events.requests.iter().position(|request| *request == cid) else {
            return false;
        };
        // One place is the Abort command's.
        if self.admin_places() < 2 {
            return false;
        }
        self.events.requests.remove(index);
        self.end_request(host, cid, 0, Status::ABORT_REQUESTED);
        self.logs.fail(0, cid, Status::ABORT_REQUESTED, 0, 0);
        true
    }

    /// A request waits under another command identifier.
    pub fn exchange_request(&mut self, from: u16, to: u16) {
        self.events.requests.iter_mut().filter(|cid| **cid == from).for_each(|cid| *cid = to);
    }

    /// Something about a namespace changed: index 0 is NSID 1.
    pub(super) fn namespace_changed(&mut self, index: usize) {
        self.events.changed[index] = true;
        let configuration = self.features.word(ASYNC_EVENT_CONFIGURATION) as u64;
        self.events.namespace_changed |= NAMESPACE_NOTICES.get(configuration) == 1;
    }

    /// Tells events as long as there are requests for them, and places for their completions.
    pub(super) fn tell(&mut self, host: &mut dyn HostMemory) {
        while self.is_running() && !self.events.requests.is_empty() && self.admin_places() > 0 {
            let Some(result) = self.events.take() else { return };
            let Some(cid) = self.events.requests.pop_front() else { return };
            self.end_request(host, cid, result, Status::SUCCESS);
        }
    }

    fn end_request(&mut self, host: &mut dyn HostMemory, cid: u16, result: u32, status: Status) {
        let sq_head = self.submission_queues[0].as_ref().map_or(0, |sq| sq.head as u16);
        self.complete(host, 0, Cqe { result, sq_head, cid, status, ..Cqe::default() });
    }

    /// Free entries of the admin completion queue.
    fn admin_places(&self) -> u32 {
        self.completion_queues[0].as_ref().map_or(0, CompletionQueue::places)
    }
}
