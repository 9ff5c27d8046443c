//! The client's half: channels that reconnect by themselves, and calls on them.

mod builder;
mod call;
mod channel;
mod connect;
mod link;
mod local;
mod way;

pub use builder::ChannelBuilder;
pub use call::Call;
pub use channel::Channel;
