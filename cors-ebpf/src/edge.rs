//! `edge`: the program at the driver.
//!
//! It runs in stages, each a function of its own that leaves its result in the scratch memory.
//! The verifier forgets what it knew of a value that comes from there, so it walks every stage
//! once and not once for each way in which the stages before may have ended.

use aya_ebpf::{macros::xdp, programs::XdpContext};
use cors_common::{
    exit::{Action, Exit},
    head::{Head, PREFLIGHT_MAX},
    policy::Answer,
    state::{Slot, State},
    tally,
    tcp::{
        flow::{Flow, change, phase},
        measure::measure,
        step::step,
        verdict::{Ask, Change},
    },
    trace,
    track::offer::Offer,
    wire::segment::{Segment, flags},
};

use crate::{
    env::{self, Kernel},
    exit,
    frame::{Packet as _, XdpFrame},
    global,
    maps::{CHANGES, FLOWS, OFFERS, PROTECTED, SCRATCH, Scratch, TALLIES},
    stage::{Done, done, result},
    table,
    trace::tell,
    tracked,
    transmit::transmit,
};

/// Answers what is ours, passes what is not.
#[xdp]
fn edge(ctx: XdpContext) -> u32 {
    exit::xdp(match try_edge(&ctx) {
        Ok(exit) | Err(exit) => exit,
    })
}

#[inline(always)]
fn try_edge(ctx: &XdpContext) -> Result<Exit, Exit> {
    // First what costs least: on most hosts most packets are the kernel's.
    let state = env::state();
    if let Ok(state) = state
        && env::goes_on(state, &XdpFrame(ctx))
    {
        return Err(Exit::NotOurs);
    }
    let scratch = SCRATCH.get_ptr_mut(0).ok_or(Exit::Internal)?;
    // SAFETY: the entry is this CPU's own, and this is the only reference to it.
    let scratch = unsafe { &mut *scratch };
    scratch.segment = Segment::read(&XdpFrame(ctx))?;
    let entry = FLOWS.get_ptr_mut(scratch.segment.tuple);
    let known = match entry {
        // SAFETY: the entry may be reused by another CPU for another connection after an
        // eviction; it is read once, and a mixture matches no segment.
        Some(entry) => {
            scratch.flow.set(unsafe { &*entry });
            true
        }
        None => false,
    };
    let state = state?;
    let is_syn = scratch.segment.flags & flags::KIND == flags::SYN;
    // One that answers are given on is the driver's, and any other may be the kernel's.
    if !is_syn && !(known && scratch.flow.phase != phase::LEAVING) {
        let tuple = core::ptr::from_ref(&scratch.segment.tuple);
        let place = table::track_find(tuple, env::track_mask(state));
        if place != table::NOWHERE {
            return tracked::edge(ctx, scratch, state, place);
        }
    }
    let sockets = env::sockets(state);
    // What an entry of the same set of sockets is for is protected.
    // SAFETY: only whether there is an entry is asked.
    if !(known && scratch.flow.sockets == sockets)
        && unsafe { PROTECTED.get(scratch.segment.endpoint()) }.is_none()
    {
        return Err(Exit::NotProtected);
    }
    if !env::has_policy(state) {
        return Err(Exit::NoPolicy);
    }
    let measures = env::measures(state);
    result(judge(ctx, scratch, state, known, measures))?;
    if !matches!(scratch.verdict.ask, Ask::Nothing) {
        no_event(scratch);
        let refused = if env::lapsed(state, &mut scratch.tick) {
            done(Err(Exit::LeaseExpired))
        } else {
            look_up(ctx, scratch, state)
        };
        if measures {
            let exit = match result(refused) {
                Ok(()) => Exit::WouldAnswer,
                Err(exit) => exit,
            };
            decided(ctx, scratch, state, exit);
            return Ok(exit);
        }
        answer(scratch, refused);
    }
    if scratch.verdict.exit.action() == Action::Transmit {
        match result(transmit(ctx, scratch, state)) {
            Ok(()) => {}
            Err(Exit::NoRoom) => scratch.verdict.no_room(),
            Err(failed) => return Err(failed),
        }
    }
    if is_syn {
        match scratch.verdict.exit {
            Exit::SynAck => {
                table::forget(&scratch.segment.tuple, env::track_mask(state));
                env::forget(&scratch.segment.tuple);
            }
            Exit::SynMptcp | Exit::SynSocket | Exit::SynKernel => {
                env::forget(&scratch.segment.tuple);
                offered(scratch);
            }
            _ => {}
        }
    }
    match scratch.verdict.change {
        Change::Keep => {}
        Change::Forget => forget(scratch),
        Change::Put => {
            scratch.verdict.flow.sockets = sockets;
            put(entry, scratch)?;
        }
    }
    let exit = scratch.verdict.exit;
    if !matches!(scratch.verdict.ask, Ask::Nothing) {
        decided(ctx, scratch, state, exit);
    }
    Ok(exit)
}

/// The kernel answers a SYN whose options were read.
#[inline(always)]
fn offered(scratch: &Scratch) {
    if let Some(offer) = OFFERS.get_ptr_mut(Offer::slot(&scratch.segment.tuple)) {
        // SAFETY: the entry is this CPU's own, and this is the only reference to it.
        unsafe { &mut *offer }.note(&scratch.segment, scratch.options.kept());
    }
}

/// Nothing is known yet of the request that is about to be looked at.
#[inline(always)]
pub(crate) const fn no_event(scratch: &mut Scratch) {
    scratch.event.generation = 0;
    scratch.event.policy = trace::NO_POLICY;
    scratch.event.len = 0;
}

/// A request was decided on: counted for its policy, and told to whoever traces.
#[inline(always)]
pub(crate) fn decided(ctx: &XdpContext, scratch: &mut Scratch, state: &'static State, exit: Exit) {
    if let Some(tally) = TALLIES.get_ptr_mut(scratch.event.policy / tally::TOGETHER) {
        // SAFETY: the entry is this CPU's own, and programs of one CPU do not interrupt each
        // other inside this read and write.
        unsafe { &mut *tally }.of(scratch.event.policy).count(exit);
    }
    let traced = env::traced(state);
    if traced != trace::OFF {
        tell(ctx, scratch, traced, exit);
    }
}

/// The segment becomes a verdict, or a question to be looked up.
#[inline(never)]
fn judge(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    state: &'static State,
    known: bool,
    measures: bool,
) -> Done {
    let Scratch { segment, flow, options, verdict, tick, zero, .. } = scratch;
    let packet = XdpFrame(ctx);
    let mut kernel = Kernel { packet, state, options, tick, zero: *zero, tracked: false };
    if measures {
        return done(measure(segment, &mut kernel).map(|len| {
            verdict.request_len = len;
            verdict.ask = Ask::First;
        }));
    }
    step(segment, known.then_some(&*flow), &mut kernel, verdict);
    done(Ok(()))
}

/// The request is copied out, read and looked up; the answer stays in the scratch memory.
#[inline(never)]
fn look_up(ctx: &XdpContext, scratch: &mut Scratch, state: &'static State) -> Done {
    done(try_look_up(ctx, scratch, state))
}

#[inline(always)]
fn try_look_up(ctx: &XdpContext, scratch: &mut Scratch, state: &'static State) -> Result<(), Exit> {
    let len = scratch
        .zero
        .bounded(scratch.verdict.request_len, PREFLIGHT_MAX)
        .ok_or(Exit::HeadTooLong)?;
    let to = scratch.head.buffer().as_mut_ptr();
    // SAFETY: the buffer has more than PREFLIGHT_MAX bytes.
    if !unsafe { XdpFrame(ctx).copy(scratch.segment.payload_at(), to, len) } {
        return Err(Exit::Truncated);
    }
    let slot = env::slot(state);
    let Scratch { event, head, answer, .. } = scratch;
    event.generation = slot.generation;
    event.len = len as u32;
    let mask = env::memo_mask(state);
    let known = global::recall(head, answer, len as u32, slot.generation, mask);
    if known != global::RECALLED {
        if let Err(exit) = decide(head, answer, slot, len) {
            event.policy = denier(head, slot, exit);
            return Err(exit);
        }
        global::remember(head, answer, known, len as u32, slot.generation);
    }
    event.policy = answer.policy;
    Ok(())
}

/// The policy that denies a request, if one does.
#[inline(always)]
pub(crate) fn denier(head: &Head, slot: &Slot, exit: Exit) -> u32 {
    if tally::is_denied(exit) {
        slot.policy_base.wrapping_add(head.policy())
    } else {
        trace::NO_POLICY
    }
}

/// Reads a head and looks it up, step by step.
#[inline(always)]
fn decide(head: &mut Head, answer: &mut Answer, slot: &Slot, len: usize) -> Result<(), Exit> {
    result(global::head_read(head, len as u32, 1))?;
    decide_read(head, answer, slot)
}

/// The same with a head that was framed.
#[inline(always)]
pub(crate) fn decide_framed(head: &mut Head, answer: &mut Answer, slot: &Slot) -> Result<(), Exit> {
    result(global::head_judge(head))?;
    decide_read(head, answer, slot)
}

/// What [`global::policy_origin`] returns for an origin that a pattern may still allow.
const DENIED: Done = Exit::OriginDenied as Done;

#[inline(always)]
fn decide_read(head: &mut Head, answer: &mut Answer, slot: &Slot) -> Result<(), Exit> {
    let slot = core::ptr::from_ref(slot);
    result(global::policy_scope(head, slot))?;
    // One after the other and not one inside the other: the stack of 512 bytes has to do for all
    // functions that are under way, each rounded up to a multiple of 32.
    match global::policy_origin(head, slot) {
        DENIED => result(global::policy_subdomain(head, slot))?,
        settled => result(settled)?,
    }
    result(global::policy_asked(head, slot))?;
    result(global::policy_answer(head, answer, slot))
}

/// The question becomes a verdict.
#[inline(never)]
fn answer(scratch: &mut Scratch, refused: Done) {
    let Scratch { segment, verdict, answer, .. } = scratch;
    verdict.answered(
        segment,
        match result(refused) {
            Ok(()) => Ok(answer),
            Err(exit) => Err(exit),
        },
    );
}

#[inline(always)]
fn put(entry: Option<*mut Flow>, scratch: &Scratch) -> Result<(), Exit> {
    let flow = &scratch.verdict.flow;
    if let Some(entry) = entry {
        // In place: a quarter of the time of an update. A NIC brings the segments of a connection
        // in on one queue; on a loopback two CPUs may write here, each a state that was true.
        // SAFETY: the pointer came from the map in this run of the program, and its memory stays
        // the map's. Only an eviction of the entry that was just used, the newest of all, would
        // have given it to another connection; that one's segments then match nothing.
        unsafe { &mut *entry }.set(flow);
        return Ok(());
    }
    // The reply is written by now: without an entry it must not leave.
    FLOWS.insert(scratch.segment.tuple, flow, 0).map_err(|_| Exit::Broken)?;
    changed(change::ADDED);
    Ok(())
}

#[inline(always)]
fn forget(scratch: &Scratch) {
    // Where the entry is gone already, somebody else forgot it.
    if FLOWS.remove(scratch.segment.tuple).is_ok() {
        changed(change::REMOVED);
    }
}

/// An entry of the flow map was added or removed.
#[inline(always)]
pub(crate) fn changed(change: u32) {
    if let Some(counter) = CHANGES.get_ptr_mut(change) {
        // SAFETY: the entry is this CPU's own, and programs of one CPU do not interrupt each
        // other inside this read and write.
        unsafe { *counter += 1 };
    }
}
