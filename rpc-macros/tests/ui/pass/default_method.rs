//! A default body works as that of an `async fn`: `?`, `return`, coercions, calls of other methods.

#![deny(warnings)]

#[rpc_core::service]
pub trait Numbers {
    async fn parse(&self, text: &str) -> Result<i32, String>;

    async fn sum(&self, texts: Vec<String>) -> Result<i32, String> {
        let mut sum = 0;
        for text in &texts {
            if text.is_empty() {
                return Err("empty".into());
            }
            sum += self.parse(text).await?;
        }
        Ok(sum)
    }

    async fn boxed(&self, text: &str) -> Box<str> {
        text.into()
    }

    #[allow(clippy::default_trait_access, reason = "its type is known")]
    async fn default(&self) -> Vec<u64> {
        Default::default()
    }

    async fn nothing(&self) {}

    // A body that never returns is what people write first, and has to compile.
    async fn unfinished(&self) -> u8 {
        unimplemented!()
    }
}

struct Impl;

impl Numbers for Impl {
    async fn parse(&self, text: &str) -> Result<i32, String> {
        text.parse().map_err(|_| text.to_owned())
    }
}

fn main() {
    let _ = NumbersServer::new(Impl);
}
