//! Compares what one end sent with what the other received, and names the promise that was broken.

use std::collections::BTreeMap;

use super::{Promise, script};
use crate::{frame::Lane, transport::OutFrame};

/// A promise that was broken, and what showed it.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) promise: Promise,
    pub(super) found: String,
}

/// How the receiving of an end ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// [`Received::End`](crate::transport::Received): the peer has finished.
    End,
    /// An error, in its own words.
    Error(String),
}

/// One direction of a connection, afterwards.
pub(super) struct Account<'a> {
    /// Which end sent: `connecting` or `accepting`.
    pub(super) from: &'static str,
    pub(super) sent: &'a [OutFrame],
    /// How many of them the transport took, entirely.
    pub(super) consumed: usize,
    pub(super) received: &'a [OutFrame],
    /// `None` when the receiver stopped by itself.
    pub(super) ended: Option<&'a Ended>,
}

/// A sent frame, and where it stands among all that were sent.
type Sent<'a> = (usize, &'a OutFrame);

impl Account<'_> {
    /// The first promise that doesn't hold.
    pub(super) fn judge(&self) -> Result<(), Broken> {
        let lanes = self.lanes();
        let mut numbers: BTreeMap<Lane, Vec<usize>> = BTreeMap::new();
        for frame in self.received {
            let (number, position) = self.identify(frame, &lanes)?;
            if position >= self.consumed {
                return Err(self.broken(
                    Promise::KnowsWhatLeft,
                    format!("{} arrived although it is still in the batch", name(frame, number)),
                ));
            }
            numbers.entry(frame.lane).or_default().push(number);
        }
        numbers.iter().try_for_each(|(lane, numbers)| self.judge_lane(*lane, numbers))?;
        self.judge_first()?;
        self.judge_missing(&lanes, &numbers)
    }

    fn lanes(&self) -> BTreeMap<Lane, Vec<Sent<'_>>> {
        let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (position, frame) in self.sent.iter().enumerate() {
            lanes.entry(frame.lane).or_default().push((position, frame));
        }
        lanes
    }

    /// Which frame this is: its number within its lane and its position among all frames.
    fn identify(
        &self,
        frame: &OutFrame,
        lanes: &BTreeMap<Lane, Vec<Sent<'_>>>,
    ) -> Result<(usize, usize), Broken> {
        let lane = lanes.get(&frame.lane).map(Vec::as_slice).unwrap_or_default();
        let number = script::number(&frame.payload).and_then(|number| usize::try_from(number).ok());
        let Some((number, (position, sent))) = number.and_then(|n| Some((n, *lane.get(n)?))) else {
            let found = format!(
                "{} bytes arrived on lane {:#x} that are no frame of that lane",
                frame.payload.len(),
                frame.lane.number()
            );
            return Err(self.broken(Promise::Whole, found));
        };
        if frame.payload != sent.payload {
            let found = format!(
                "{} of {} bytes arrived as {} bytes, the first {} of them unchanged",
                name(frame, number),
                sent.payload.len(),
                frame.payload.len(),
                frame.payload.iter().zip(&sent.payload).take_while(|(a, b)| a == b).count()
            );
            return Err(self.broken(Promise::Whole, found));
        }
        if frame.end != sent.end {
            let found = if sent.end { "lost its end mark" } else { "arrived with an end mark" };
            return Err(self.broken(Promise::End, format!("{} {found}", name(frame, number))));
        }
        Ok((number, position))
    }

    /// `numbers` are those of the lane's frames, as they arrived.
    fn judge_lane(&self, lane: Lane, numbers: &[usize]) -> Result<(), Broken> {
        let lane = lane.number();
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        if let Some((twice, _)) = neighbours(&sorted).find(|(a, b)| a == b) {
            let found = format!("frame {twice} of lane {lane:#x} arrived twice");
            return Err(self.broken(Promise::Once, found));
        }
        if let Some((first, then)) = neighbours(numbers).find(|(a, b)| a > b) {
            let found = format!("frame {then} of lane {lane:#x} arrived after frame {first}");
            return Err(self.broken(Promise::Order, found));
        }
        Ok(())
    }

    fn judge_first(&self) -> Result<(), Broken> {
        let (Some(sent), Some(received)) = (self.sent.first(), self.received.first()) else {
            return Ok(());
        };
        if sent == received {
            return Ok(());
        }
        let lane = received.lane.number();
        let found = format!("a frame of lane {lane:#x} arrived before the hello");
        Err(self.broken(Promise::First, found))
    }

    /// Nothing is missing before an end; before an error, only what would have come last.
    fn judge_missing(
        &self,
        lanes: &BTreeMap<Lane, Vec<Sent<'_>>>,
        numbers: &BTreeMap<Lane, Vec<usize>>,
    ) -> Result<(), Broken> {
        for (lane, sent) in lanes {
            let got = numbers.get(lane).map(Vec::as_slice).unwrap_or_default();
            let all = sent.iter().filter(|(position, _)| *position < self.consumed).count();
            let expected = match self.ended {
                Some(Ended::End) => all,
                Some(Ended::Error(_)) | None => got.last().map_or(0, |last| last + 1),
            };
            if got.len() < expected {
                let missing = (0..expected).find(|number| got.get(*number) != Some(number));
                let after = match self.ended {
                    Some(Ended::End) => "the end was reported",
                    Some(Ended::Error(_)) | None => "later ones of that lane arrived",
                };
                let found = format!(
                    "frame {} of lane {:#x} is missing, and {after}",
                    missing.unwrap_or_default(),
                    lane.number()
                );
                return Err(self.broken(Promise::OrItEnds, found));
            }
        }
        Ok(())
    }

    fn broken(&self, promise: Promise, found: impl AsRef<str>) -> Broken {
        promise.broken(format!("from the {} end: {}", self.from, found.as_ref()))
    }
}

fn neighbours(numbers: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    numbers.iter().copied().zip(numbers.iter().copied().skip(1))
}

fn name(frame: &OutFrame, number: usize) -> String {
    format!("frame {number} of lane {:#x}", frame.lane.number())
}
