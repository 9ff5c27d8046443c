//! A datagram in words, for whoever looks for the cause of a failure.

use crate::proto::{
    frame::{Frame, Frames},
    packet::{Reset, decode_data, peek},
};

/// What a datagram says, on one line.
pub(super) fn describe(datagram: &[u8]) -> String {
    if let Some(reset) = Reset::decode(datagram) {
        return format!("{reset:?}");
    }
    let Some(data) = decode_data(datagram) else {
        return format!("{:?}, {} bytes", peek(datagram), datagram.len());
    };
    let mut text = format!("{:?} #{}", data.session, data.pn32);
    if data.cookie.is_some() {
        text += " cookie";
    }
    for frame in Frames::new(data.frames) {
        text += " | ";
        text += &match frame {
            Ok(Frame::Data(frame)) => {
                let end = if frame.end { " end" } else { "" };
                let more = if frame.more { " more" } else { "" };
                let (number, lane, bytes) = (frame.number, frame.lane, frame.payload.len());
                format!(
                    "frame {number} lane {lane:#x}.{}{end}{more}, {bytes} bytes",
                    frame.lane_seq
                )
            }
            Ok(Frame::Ack(ack)) => {
                let ranges: Option<Vec<_>> =
                    ack.ranges(ack.largest.into()).map(Iterator::collect).ok();
                format!("ack {:?} window {}", ranges.unwrap_or_default(), ack.window)
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        };
    }
    text
}
