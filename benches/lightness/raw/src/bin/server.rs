//! Answers each line with a greeting.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(greet(stream));
    }
}

async fn greet(mut stream: TcpStream) -> std::io::Result<()> {
    let (input, mut output) = stream.split();
    let mut names = BufReader::new(input).lines();
    while let Some(name) = names.next_line().await? {
        output.write_all(format!("Hello, {name}!\n").as_bytes()).await?;
    }
    Ok(())
}
