//! What holds after every step of the simulation, and what holds when it has come to rest.

use super::*;

impl Simulation {
    /// Nothing is lost and nothing is made up, whatever is under way.
    pub(super) fn check_step(&mut self) {
        let over = |side: &Side| {
            matches!(side.mux.phase(), Phase::Closed(_)) || side.mux.farewell.is_some()
        };
        if !self.dead && !self.sides.iter().any(over) {
            (0..2).for_each(|from| self.check_credit(from));
        }
        self.check_bounds();
        self.check_wakers();
    }

    // r[verify credit.cost] r[verify credit.initial]
    fn check_credit(&self, from: usize) {
        let [sender, receiver] = [from, 1 - from].map(|at| &self.sides[at].mux);
        let sent = self.links[from].under_way(sender);
        let granted = self.links[1 - from].under_way(receiver);
        let under_way = |lane: Lane| {
            let paid = sent.get(&lane).map_or(0, |(paid, _)| *paid);
            paid + granted.get(&lane).map_or(0, |(_, granted)| *granted)
        };
        let (allowed, extra) = receiver.bulk_in.allowed();
        let unknown = if sender.hello_arrived() { 0 } else { extra };
        let account = sender.outbox.bulk_credit() + under_way(Lane::CONTROL) + unknown;
        assert_eq!(allowed, account, "the connection's credit");
        for (id, allowed) in receiver.streams.allowed() {
            if sender.streams.has_writer(id) {
                let own = sender.streams.credit_of(id) + sender.outbox.credit_with_item(id);
                assert_eq!(allowed, own + under_way(id.lane()), "the credit of {id:?}");
            }
        }
    }

    fn check_bounds(&self) {
        for side in &self.sides {
            let (mux, limits) = (&side.mux, side.mux.limits());
            assert!(mux.held_bytes() <= limits.held_bytes, "more is held than allowed");
            assert!(mux.streams.growth() <= limits.stream_bytes, "a window was given back twice");
        }
    }

    /// Whoever sleeps has nothing to do.
    fn check_wakers(&mut self) {
        let Self { ledger, sides, ids, .. } = self;
        for (id, number) in ids {
            let entry = &mut ledger[*number];
            for way in [Way::Arguments, Way::Reply] {
                let at = entry.sender(way);
                let Some(flow) = entry.flow(way) else { continue };
                if flow.sending == Sending::Open && !flow.sender.is_set() {
                    assert!(sides[at].mux.streams.has_writer(*id), "a sender isn't told");
                }
                if flow.reading == Reading::Open && !flow.reader.is_set() {
                    let ready = sides[1 - at].mux.streams.is_reader_ready(*id);
                    assert!(!ready, "a reader isn't told");
                }
            }
        }
    }

    pub(super) fn check_rest(&mut self) {
        for (number, entry) in self.ledger.iter().enumerate() {
            let what = || format!("call {number} ran {} times: {:?}", entry.ran, entry.end);
            assert!(entry.ran <= 1, "{}", what());
            if let Some(End::Failed(_, delivery) | End::Lost(delivery)) = &entry.end {
                assert!(!delivery.never_ran() || entry.ran == 0, "{}", what());
            }
            if self.calm {
                assert!(matches!(entry.end, Some(End::Reply(_) | End::Stream)), "{}", what());
                for flow in entry.arguments.iter().chain(&entry.reply) {
                    assert_eq!(flow.outcome().as_deref(), Some("Finished"), "{}", what());
                }
            }
        }
        let open = self.sides.iter().all(|side| *side.mux.phase() == Phase::Open);
        assert!(open || !self.calm);
        for at in 0..2 {
            assert_eq!(self.sides[at].mux.strays, 0, "honest peers send no strays");
            assert_eq!(self.sides[at].mux.streams.open_streams(), [], "streams are left");
            if open {
                self.check_side(at);
            }
        }
        self.check_no_wakers();
    }

    /// Nothing of a call is left on a connection that is still open.
    fn check_side(&mut self, at: usize) {
        let allowed = self.sides[1 - at].mux.bulk_in.window_of_peer();
        assert_eq!(self.links[at].open_lanes(), [], "a lane without an end");
        self.now += Duration::from_secs(3600);
        self.sides[at].set_time(self.now);
        let mux = &self.sides[at].mux;
        assert_eq!(mux.outbox.bulk_credit(), allowed, "credit was lost");
        assert_eq!(mux.streams.growth(), mux.limits().stream_bytes, "a window wasn't given back");
        assert!(!mux.is_busy() && mux.requests.at_rest(), "a slot is in use");
        assert!(!mux.has_frames() && !mux.outbox.is_held_up(), "something isn't sent");
        assert_eq!(mux.streams.waiting_writers(), 0);
        assert_eq!((mux.held_bytes(), mux.waiters.held()), (0, 0));
        assert_eq!(mux.next_timeout(), None, "a timer is left");
    }

    fn check_no_wakers(&self) {
        for entry in &self.ledger {
            let flows = entry.arguments.iter().chain(&entry.reply);
            let flags = flows.flat_map(|flow| [&flow.sender, &flow.reader]).chain([&entry.caller]);
            for flag in flags {
                assert_eq!(Arc::strong_count(flag), 1, "a waker is kept");
            }
        }
    }
}
