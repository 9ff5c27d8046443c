//! Sends a line, prints the answer.

use std::env;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let addr = env::args().nth(1).unwrap_or_default();
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(b"Ada\n").await?;
    let mut greeting = String::new();
    BufReader::new(stream).read_line(&mut greeting).await?;
    print!("{greeting}");
    Ok(())
}
