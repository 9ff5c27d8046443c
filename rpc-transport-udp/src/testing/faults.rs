//! What a network does to datagrams and sockets, as numbers; who does it is elsewhere.

use std::time::Duration;

use crate::proto::packet::DATAGRAM_BYTES_MAX;

/// What happens in one direction of a [`Network`](super::Network), to datagrams and to the sockets
/// that send them.
///
/// Shares are between 0 and 1, of all datagrams unless said otherwise. By default nothing happens,
/// and a datagram takes 2 ms.
///
/// ```
/// use std::time::Duration;
///
/// use rpc_transport_udp::testing::Faults;
///
/// let faults = Faults::none().loss(0.3, 3.0).reordering(0.1, Duration::from_millis(20));
/// # let _ = faults;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "faults do nothing until a network has them"]
pub struct Faults {
    pub(super) delay: (Duration, Duration),
    pub(super) loss: f64,
    pub(super) burst: f64,
    pub(super) duplication: f64,
    pub(super) reordering: f64,
    pub(super) late_by: Duration,
    pub(super) bit_flips: f64,
    pub(super) truncation: f64,
    pub(super) marks: f64,
    pub(super) path_bytes: usize,
    pub(super) interface_bytes: usize,
    pub(super) blocking: f64,
    pub(super) blocked_for: Duration,
    pub(super) no_buffers: f64,
    pub(super) not_permitted: f64,
    pub(super) one_at_a_time: bool,
    pub(super) refusals: f64,
    pub(super) rebinding: f64,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) queue_bytes: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// Nothing goes wrong.
    pub const fn none() -> Self {
        Self {
            delay: (Duration::from_millis(2), Duration::from_millis(2)),
            loss: 0.0,
            burst: 1.0,
            duplication: 0.0,
            reordering: 0.0,
            late_by: Duration::ZERO,
            bit_flips: 0.0,
            truncation: 0.0,
            marks: 0.0,
            path_bytes: DATAGRAM_BYTES_MAX,
            interface_bytes: DATAGRAM_BYTES_MAX,
            blocking: 0.0,
            blocked_for: Duration::ZERO,
            no_buffers: 0.0,
            not_permitted: 0.0,
            one_at_a_time: false,
            refusals: 0.0,
            rebinding: 0.0,
            bytes_per_second: None,
            queue_bytes: 0,
        }
    }

    /// A bad day: 30 % loss in bursts of three, 5 % twice, 10 % out of order by up to 20 ms, 1 %
    /// damaged.
    pub const fn rough() -> Self {
        Self::none()
            .delay(Duration::from_millis(1), Duration::from_millis(3))
            .loss(0.3, 3.0)
            .duplication(0.05)
            .reordering(0.1, Duration::from_millis(20))
            .bit_flips(0.008)
            .truncation(0.002)
    }

    /// How long a datagram takes: anything between the two. Default: 2 ms.
    pub const fn delay(mut self, least: Duration, most: Duration) -> Self {
        self.delay = (least, most);
        self
    }

    /// A share is lost, `burst` in a row on average (Gilbert-Elliott). A burst of 1 or less is no
    /// burst, and none outlasts a pause of 100 ms. Default: none.
    pub const fn loss(mut self, share: f64, burst: f64) -> Self {
        self.loss = share;
        self.burst = burst;
        self
    }

    /// A share comes twice. Default: none.
    pub const fn duplication(mut self, share: f64) -> Self {
        self.duplication = share;
        self
    }

    /// A share is late by up to so much, so that others overtake it. Default: none.
    pub const fn reordering(mut self, share: f64, late_by: Duration) -> Self {
        self.reordering = share;
        self.late_by = late_by;
        self
    }

    /// In a share one bit is wrong. Default: none.
    pub const fn bit_flips(mut self, share: f64) -> Self {
        self.bit_flips = share;
        self
    }

    /// A share is cut off anywhere. Default: none.
    pub const fn truncation(mut self, share: f64) -> Self {
        self.truncation = share;
        self
    }

    /// A share gets a mark of congestion (ECN CE). Default: none.
    pub const fn marks(mut self, share: f64) -> Self {
        self.marks = share;
        self
    }

    /// The path takes datagrams of so many bytes; longer ones are lost without a word. Default:
    /// 1452.
    pub const fn path_bytes(mut self, bytes: usize) -> Self {
        self.path_bytes = bytes;
        self
    }

    /// The interface takes datagrams of so many bytes; sending longer ones fails with `EMSGSIZE`.
    /// Default: 1452.
    pub const fn interface_bytes(mut self, bytes: usize) -> Self {
        self.interface_bytes = bytes;
        self
    }

    /// The path carries so many bytes a second; up to `queue_bytes` wait for their turn, what comes
    /// then is lost. Default: no limit.
    pub const fn rate(mut self, bytes_per_second: u64, queue_bytes: usize) -> Self {
        self.bytes_per_second = Some(bytes_per_second);
        self.queue_bytes = queue_bytes;
        self
    }

    /// A share of send calls finds the socket full, and it stays so for some time. Default: none.
    pub const fn blocking(mut self, share: f64, time: Duration) -> Self {
        self.blocking = share;
        self.blocked_for = time;
        self
    }

    /// A share of send calls fails with `ENOBUFS`: a queue of the system is full. Default: none.
    pub const fn no_buffers(mut self, share: f64) -> Self {
        self.no_buffers = share;
        self
    }

    /// A share of send calls fails with `EPERM`: a firewall forbids it. Default: none.
    pub const fn not_permitted(mut self, share: f64) -> Self {
        self.not_permitted = share;
        self
    }

    /// Send calls for several datagrams fail with `EIO`, also of sockets that say that they take them: an
    /// interface that can't cut them. Default: off.
    pub const fn one_at_a_time(mut self, on: bool) -> Self {
        self.one_at_a_time = on;
        self
    }

    /// After a share of datagrams the sender's next receive call fails with `ConnectionRefused`,
    /// although somebody listens there: an ICMP message that is forged, or late. Default: none.
    pub const fn refusals(mut self, share: f64) -> Self {
        self.refusals = share;
        self
    }

    /// With a share of a client's datagrams its NAT gives it another address. Has no effect on
    /// servers. Default: none.
    pub const fn rebinding(mut self, share: f64) -> Self {
        self.rebinding = share;
        self
    }
}
