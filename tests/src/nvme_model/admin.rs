//! The admin command set (NVMe 1.4 §5).

use nitride_abi::card::{MSIX_VECTORS, NAMESPACES, QUEUE_ENTRIES};
use nitride_abi::nvme::command::{abort, admin, identify, queue};
use nitride_abi::nvme::{self, PAGE, Sqe, Status};

use super::controller::Controller;
use super::host::HostMemory;
use super::prp;
use super::queue::{CompletionQueue, SubmissionQueue};

impl Controller {
    /// Executes a command of the admin queue: the completion's dword 0, or `None` if it stays outstanding.
    pub(super) fn execute_admin(
        &mut self,
        host: &mut dyn HostMemory,
        sqe: &Sqe,
    ) -> Result<Option<u32>, Status> {
        match sqe.opcode {
            admin::DELETE_SQ
            | admin::CREATE_SQ
            | admin::GET_LOG_PAGE
            | admin::DELETE_CQ
            | admin::CREATE_CQ
            | admin::IDENTIFY
            | admin::ABORT
            | admin::SET_FEATURES
            | admin::GET_FEATURES
            | admin::ASYNC_EVENT_REQUEST => {}
            _ => return Err(Status::INVALID_OPCODE),
        }
        if sqe.flags & 0xc3 != 0 {
            return Err(Status::INVALID_FIELD);
        }
        match sqe.opcode {
            admin::CREATE_CQ => self.create_completion_queue(sqe),
            admin::CREATE_SQ => self.create_submission_queue(sqe),
            admin::DELETE_SQ => self.delete_submission_queue(sqe),
            admin::DELETE_CQ => self.delete_completion_queue(sqe),
            admin::GET_LOG_PAGE => self.get_log_page(host, sqe),
            admin::IDENTIFY => self.identify(host, sqe),
            admin::SET_FEATURES => {
                let io_queues = self.io_queue_exists();
                self.features.set(sqe, io_queues).map(Some)
            }
            admin::GET_FEATURES => self.features.get(sqe).map(Some),
            admin::ABORT => {
                let cdw10 = sqe.cdw10[0] as u64;
                let (queue, cid) = (abort::SQID.get(cdw10) as u16, abort::CID.get(cdw10) as u16);
                let aborted =
                    self.abort_held(host, queue, cid) || queue == 0 && self.abort_request(host, cid);
                Ok(Some(if aborted { abort::ABORTED } else { abort::NOT_ABORTED }))
            }
            _ => self.request_event(sqe.cid),
        }
    }

    fn create_completion_queue(&mut self, sqe: &Sqe) -> Result<Option<u32>, Status> {
        let (cdw10, cdw11) = (sqe.cdw10[0] as u64, sqe.cdw10[1] as u64);
        let slot = io_queue(&mut self.completion_queues, queue::QID.get(cdw10))?;
        if slot.is_some() {
            return Err(Status::INVALID_QUEUE_ID);
        }
        let size = queue_size(cdw10, cdw11)?;
        let vector = queue::IV.get(cdw11) as u16;
        if vector as usize >= MSIX_VECTORS {
            return Err(Status::INVALID_VECTOR);
        }
        let base = queue_base(sqe)?;
        *slot = Some(CompletionQueue::new(base, size, (queue::IEN.get(cdw11) == 1).then_some(vector)));
        Ok(Some(0))
    }

    fn create_submission_queue(&mut self, sqe: &Sqe) -> Result<Option<u32>, Status> {
        let (cdw10, cdw11) = (sqe.cdw10[0] as u64, sqe.cdw10[1] as u64);
        let slot = io_queue(&mut self.submission_queues, queue::QID.get(cdw10))?;
        if slot.is_some() {
            return Err(Status::INVALID_QUEUE_ID);
        }
        let cqid = queue::CQID.get(cdw11);
        if io_queue(&mut self.completion_queues, cqid)?.is_none() {
            return Err(Status::COMPLETION_QUEUE_INVALID);
        }
        let size = queue_size(cdw10, cdw11)?;
        *slot = Some(SubmissionQueue::new(queue_base(sqe)?, size, cqid as usize));
        Ok(Some(0))
    }

    fn delete_submission_queue(&mut self, sqe: &Sqe) -> Result<Option<u32>, Status> {
        let slot = io_queue(&mut self.submission_queues, queue::QID.get(sqe.cdw10[0] as u64))?;
        slot.take().ok_or(Status::INVALID_QUEUE_ID)?;
        Ok(Some(0))
    }

    fn delete_completion_queue(&mut self, sqe: &Sqe) -> Result<Option<u32>, Status> {
        let id = queue::QID.get(sqe.cdw10[0] as u64);
        let slot = io_queue(&mut self.completion_queues, id)?;
        if slot.is_none() {
            return Err(Status::INVALID_QUEUE_ID);
        }
        if self.submission_queues.iter().flatten().any(|sq| sq.completion_queue == id as usize) {
            return Err(Status::INVALID_QUEUE_DELETION);
        }
        *slot = None;
        Ok(Some(0))
    }

    fn identify(&mut self, host: &mut dyn HostMemory, sqe: &Sqe) -> Result<Option<u32>, Status> {
        let valid = sqe.nsid.checked_sub(1).filter(|index| (*index as usize) < NAMESPACES);
        let active = valid.and_then(|index| self.namespaces[index as usize].as_ref());
        let nsid = sqe.nsid as u8;
        let data = match identify::CNS.get(sqe.cdw10[0] as u64) as u8 {
            identify::CNS_NAMESPACE => {
                valid.ok_or(Status::INVALID_NAMESPACE)?;
                active.map_or([0; identify::BYTES], |n| {
                    nvme::identify_namespace(self.function, nsid, n.blocks(), n.format(), n.is_read_only())
                })
            }
            identify::CNS_CONTROLLER => nvme::identify_controller(self.function),
            identify::CNS_ACTIVE_NAMESPACES if sqe.nsid >= 0xffff_fffe => {
                return Err(Status::INVALID_NAMESPACE);
            }
            identify::CNS_ACTIVE_NAMESPACES => {
                let mut list = [0; identify::BYTES];
                let ids = (1..).zip(&self.namespaces).filter(|(id, n)| *id > sqe.nsid && n.is_some());
                for ((id, _), entry) in ids.zip(list.as_chunks_mut::<4>().0) {
                    *entry = id.to_le_bytes();
                }
                list
            }
            identify::CNS_NAMESPACE_DESCRIPTORS => {
                active.ok_or(Status::INVALID_NAMESPACE)?;
                nvme::namespace_descriptors(self.function, nsid)
            }
            _ => return Err(Status::INVALID_FIELD),
        };
        let pages = prp::walk(host, sqe.prp1, sqe.prp2, data.len())?;
        prp::scatter(host, &pages, &data)?;
        Ok(Some(0))
    }
}

/// The slot of an I/O queue.
fn io_queue<T>(slots: &mut [Option<T>], id: u64) -> Result<&mut Option<T>, Status> {
    if id == 0 { None } else { slots.get_mut(id as usize) }.ok_or(Status::INVALID_QUEUE_ID)
}

/// Entries of a queue to create.
fn queue_size(cdw10: u64, cdw11: u64) -> Result<u32, Status> {
    let last = queue::QSIZE.get(cdw10) as u32;
    if last == 0 || last as usize >= QUEUE_ENTRIES {
        return Err(Status::INVALID_QUEUE_SIZE);
    }
    if queue::PC.get(cdw11) == 0 {
        return Err(Status::INVALID_FIELD);
    }
    Ok(last + 1)
}

fn queue_base(sqe: &Sqe) -> Result<u64, Status> {
    if sqe.prp1.is_multiple_of(PAGE) { Ok(sqe.prp1) } else { Err(Status::PRP_OFFSET_INVALID) }
}
