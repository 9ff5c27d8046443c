//! What tonic's build script would write from a `.proto` file, by hand and in the same shape, so that
//! nobody needs `protoc`: the script, and its build, aren't in the figures.

use prost::Message;

pub const HELLO: &str = "/hello.Greeter/Hello";

#[derive(Clone, PartialEq, Message)]
pub struct Name {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Greeting {
    #[prost(string, tag = "1")]
    pub text: String,
}
